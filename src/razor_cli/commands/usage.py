"""The help of `razor-run`, printed before Hydra is imported."""

from __future__ import annotations

from razor_cli.config.conf_files import comments, conf_dir, default_option, groups

EXAMPLES = """\
usage: razor-run [GROUP=NAME ...] [KEY=VALUE ...] [-m] [--cfg job]

Make a model forget one concept, and prove it.

  razor-run target="Taylor Swift"
      the stand-in model inside the package: nothing to download, about a minute
  razor-run model=clip_vitb32 model.weights=FILE_OR_TAG data=folder data.root=DIR target="Taylor Swift"
      your own model and photographs: DIR/<concept>/*.jpg
  razor-run -m method=razor,slug method.towers=both,vision target="Taylor Swift,Elon Musk"
      a sweep: every combination is a run of its own
  razor-run experiment=table3 seed=0,1,2 dry_run=true
      the jobs of a table of the paper, with time and memory; without dry_run they run, jobs=2 at a time
"""
FLAGS = """\
options
  -m, --multirun     run every combination of comma-separated values
  --cfg job          print the configuration that would run (also: hydra, all), with --resolve, -p PACKAGE
  --info [WHAT]      how the configuration is put together: all, config, defaults, defaults-tree, plugins,
                     searchpath
  --config-dir DIR   a folder of yours with more options, laid out like conf/
  --output-dir DIR   the same as output_dir=DIR; without either it is $RAZOR_OUTPUT_DIR, or else outputs
  --version, --help

exit codes: 0 done, 1 failure, 2 wrong request, 3 verdict with exit_on=…, 130 interrupted (Ctrl-C),
143 stopped (SIGTERM)
A comma inside a name of a sweep: -m 'target="Downey, Robert",Taylor Swift'
More: `razor list methods razor` prints a file with all its settings explained; `razor --help` lists the
other commands.
"""


def help_text() -> str:
    """Return the help of `razor-run`: commands, groups with their options, keys with their meaning."""
    root = conf_dir()
    available = groups([root])
    width = max(map(len, available))
    lines = []
    for name, options in available.items():
        default = default_option(name)
        named = [f"{o}*" if o == default else o for o in options if "/" not in o]
        variants = [o for o in options if "/" in o]
        more = f"; {len(variants)} variants, {variants[0]} and so on: razor list {name}s" if variants else ""
        lines.append(f"  {name:<{width}}  {', '.join(named)}{more}")
    settings = [row for row in comments(root / "config.yaml") if row[2]]
    wide = max(len(f"{key}={value}") for key, value, _ in settings)
    keys = [f"  {f'{key}={value}':<{wide}}  {comment}" for key, value, comment in settings]
    return "\n".join([EXAMPLES, "groups (* is the default)", *lines, "", "keys", *keys, "", FLAGS])
