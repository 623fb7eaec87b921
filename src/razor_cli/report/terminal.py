"""What `razor-run` prints at its end and `razor show` prints again: one run, read from its recorded files
only.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from razor_cli.report.blocks import print_attacked, print_part
from razor_cli.report.cells import Words, print_fields, table
from razor_cli.report.differing import sentence
from razor_cli.report.edited import numbers_of
from razor_cli.report.layout import layout_of, plain
from razor_cli.runs.folder import DONE, Run
from razor_cli.runs.judged import Acceptance, by_bounds
from razor_cli.runs.records import Decision, MemoryRecord, PassRecord, RunRecord, Verdict

COMPONENTS_SHOWN = 12
STYLES = {Decision.ACCEPTED: "bold green", Decision.REJECTED: "bold red", Decision.UNDECIDED: "bold yellow"}


def print_report(console: Console, run: Run, acceptance: Acceptance | None = None) -> None:
    """Print a complete run: what was forgotten and kept, what was edited, the cost, the verdict, and the
    files.

    The verdict is that of the bounds `acceptance`, or without them the one that was recorded.
    """
    words = Words(console.options.ascii_only)
    record, rows = run.record, run.scores
    _print_header(console, words, record)
    layout = layout_of(record.family) or plain([r.score for r in rows])
    for part in layout.parts:
        print_part(console, words, part, rows, record.target)
    if layout.attacked is not None:
        print_attacked(console, words, layout.attacked, run.measured)
    console.print()
    _print_components(console, words, record)
    console.print()
    _print_cost(console, words, record)
    print_verdict(
        console, words, record, record.verdict if acceptance is None else by_bounds(run, acceptance)
    )
    _print_files(console, words, run)


def _print_header(console: Console, words: Words, record: RunRecord) -> None:
    console.print()
    console.print(
        Text(words(f'forget "{record.target}"'), style="bold"),
        Text(words(f"· {record.method} · run {record.run_id}")),
    )
    where = record.provenance
    model = Text(words(f"{record.model} ({record.family})"))
    if record.stand_in:
        model.append(
            "  STAND-IN: small, trained by this project; its numbers say nothing about a real model",
            style="bold yellow",
        )
    sizes = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in where.set_sizes.items())
    computed = (
        f"{where.device}, {where.dtype}, {where.threads} threads, seed {record.seed}, {where.finished[:10]}"
    )
    fields: list[tuple[str, str | Text]] = [
        ("model", model),
        ("data", f"{record.scenario}, {record.data}: {sizes}"),
    ]
    fields += [("computed", computed), ("settings", sentence(record))]
    print_fields(console, words, [*fields, *(("note", note) for note in record.notes)])


def _print_components(console: Console, words: Words, record: RunRecord) -> None:
    parts = record.components
    if not parts:
        console.print("No component was edited.")
        return
    shown = table(f"Edited components ({len(parts)})")
    for name in ("component", "kind"):
        shown.add_column(name, overflow="fold")
    numbered = numbers_of(parts)
    for name in numbered:
        shown.add_column(words(name), justify="right", overflow="fold")
    for i, part in enumerate(parts[:COMPONENTS_SHOWN]):
        numbers = [words("–") if (x := own[i]) is None else f"{x:.3g}" for own in numbered.values()]
        shown.add_row(Text(words(part.name)), " ".join(filter(None, (part.tower, part.kind))), *numbers)
    console.print(shown)
    if len(parts) > COMPONENTS_SHOWN:
        console.print(f"and {len(parts) - COMPONENTS_SHOWN} more, all in run.json", highlight=False)


def _print_cost(console: Console, words: Words, record: RunRecord) -> None:
    cost = record.cost
    rest = max(0.0, cost.seconds - cost.gradient_seconds - cost.search_seconds)
    hits = f" ({cost.gradient_cache_hits} gradients from the cache)" if cost.gradient_cache_hits else ""
    patch = "no patch" if cost.patch_bytes is None else f"patch {cost.patch_bytes:,} bytes"
    edit = (
        f"{cost.seconds:.1f} s = gradients {cost.gradient_seconds:.1f} + search "
        f"{cost.search_seconds:.1f} + rest {rest:.1f}{hits}"
    )
    drawn = f" on {cost.drawn:,} drawn pictures" if cost.drawn else ""
    passes = (
        f"{cost.forwards:,} pictures forward, {cost.backwards:,} backward; "
        f"{cost.evaluations:,} trials scored{drawn}"
    )
    whole = f"{cost.run_seconds:.1f} s in all, peak memory {cost.peak_rss_mb:,.0f} MB, {patch}"
    console.print(Text("Cost", style="bold"))
    fields = [("edit", edit), ("passes", passes), ("run", whole)]
    fields += [("adaptive", _adaptive(p)) for p in cost.passes]
    if record.memory is not None:
        fields.append(("memory", _memory(record.memory)))
    print_fields(console, words, fields)


def _adaptive(taken: PassRecord) -> str:
    """Return in one line what an adaptive gradient pass used, and why no more or no less."""
    used = " + ".join(f"{n:,} of {taken.there[which]:,} {which}" for which, n in taken.used.items())
    share = sum(taken.used.values()) / max(1, sum(taken.there.values()))
    if taken.cosine is None:
        seen = "no halves were compared"
    else:
        seen = f"halves with {'the same' if taken.same else 'other'} components, cosine {taken.cosine:.3f}"
    end = "ended early" if taken.stopped_early else "went to the end"
    return f"{share:.0%} of a gradient pass, {used} pairs: {end}, {seen}"


def _memory(memory: MemoryRecord) -> str:
    """Return in one line what a run could take, and how many examples were taken at once by it."""
    budget = "unknown" if memory.budget_mb is None else f"{memory.budget_mb / 1024:.1f} GB"
    taken = [f"{what} {f.at_once} at once, {f.each_mb:,.1f} MB each" for what, f in memory.chosen.items()]
    return "; ".join([f"budget {budget} ({memory.asked})", *taken])


def print_verdict(console: Console, words: Words, record: RunRecord, verdict: Verdict | None) -> None:
    """Print a verdict with its reasons, and the recorded one where it is another."""
    if verdict is not None:
        console.print()
        decision = Text(verdict.decision.value, style=STYLES[verdict.decision])
        console.print(Text("Verdict: ", style="bold") + decision + Text(words(verdict.by)))
        print_fields(console, words, [(words("·"), reason) for reason in verdict.reasons])
    before = record.verdict.decision if record.verdict else None
    if before is not None and before is not (verdict.decision if verdict else None):
        print_fields(
            console, words, [("note", f"{before.value} when it was recorded, by the bounds of then")]
        )


def _print_files(console: Console, words: Words, run: Run) -> None:
    folder, here = run.folder.resolve(), Path.cwd()
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != DONE)
    console.print()
    console.print(Text("Files: ", style="bold") + Text(words(f"{shown.as_posix()}/")), soft_wrap=True)
    print_fields(console, words, [("", "  ".join(names))])
