"""The one place where exceptions of Python, Hydra, OmegaConf and yaml become a message with key, value and
next step.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from razor_cli.config import hydra_words
from razor_cli.config.conf_files import FAMILY, groups
from razor_cli.config.family import no_answer
from razor_cli.errors import SHOWN, ConfigError, Problem, RazorError, UserError, shortened

PLACES = {  # what is wrong with a path that was given, and no failure of the machine
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, and no folder",
    errno.EISDIR: "a folder, where a file is needed",
    errno.EACCES: "it may not be read or written",
    errno.EPERM: "it may not be changed",
    errno.EROFS: "it lies where nothing can be written",
    errno.ENAMETOOLONG: "the path is longer than the system allows",
    errno.ELOOP: "its links lead in a circle",
    errno.EEXIST: "something of another kind stands there",
}
PLUGGED = ("hydra/launcher/", "hydra/sweeper/")


@contextmanager
def reading(words: Sequence[str], roots: Sequence[Path] = ()) -> Iterator[None]:
    """Turn what is raised while a command line and configurations are read into ConfigError."""
    try:
        yield
    except RazorError:
        raise
    except Exception as error:
        if (problem := problem_of(error, words, roots)) is None:
            raise
        raise problem.error() from error


def problem_of(error: Exception, words: Sequence[str], roots: Sequence[Path] = ()) -> Problem | None:
    """Return what an exception says of a configuration; None for one that is a fault of ours."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    if isinstance(error, ConfigError):
        return Problem.of(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _of_hydra(error, words, roots)
    if isinstance(error, OSError):
        return _of_path(error, words)
    if isinstance(error, RecursionError):
        return Problem(what="the configuration names itself in a circle, or lies too deep", fix="shorten it")
    if isinstance(error, ValueError | OverflowError | YAMLError):
        text = str(error).partition("\n")[0]
        return Problem(what=f"{_blamed(text, words) or 'configuration'}: {text}"[: 2 * SHOWN], fix=_look())
    return None


def at_work(error: Exception, words: Sequence[str]) -> Exception:
    """Return a failure of a run as ours where a path that was given is to blame; any other as it is."""
    if not isinstance(error, OSError) or error.filename is None:
        return error
    problem = _of_path(error, words)
    is_theirs = error.errno in PLACES and _blamed(str(error.filename), words)
    return UserError(problem.what, found=problem.found, fix=problem.fix) if is_theirs else error


def _of_path(error: OSError, words: Sequence[str]) -> Problem:
    name = str(error.filename) if error.filename is not None else ""
    key = _blamed(name, words)
    reason = PLACES.get(error.errno or 0) or error.strerror or str(error)
    what = f"{key or shortened(name) or 'configuration'}: {reason}"
    fix = f"{key}=PATH, another one" if key else None
    return Problem(what=what, found=shortened(name) if key else None, fix=fix)


def _of_hydra(error: Exception, words: Sequence[str], roots: Sequence[Path]) -> Problem:
    """Return what Hydra or OmegaConf refuses; what lies behind it is said too where it says more."""
    missing = getattr(error, "missing_cfg_file", None)
    if problem := no_answer(missing, roots):
        return problem
    if isinstance(missing, str) and (group := missing.partition("/")[0]) in groups(roots):
        return Problem(
            what=f"{group}={missing.partition('/')[2]}: there is no such {group}",
            allowed=", ".join(groups(roots)[group]) if group != FAMILY else None,
            fix=f"{group}=NAME",
        )
    if isinstance(missing, str) and missing.startswith(PLUGGED):
        return hydra_words.not_installed(*missing.rsplit("/", 1))
    texts = [_first(e) for e in (error, error.__cause__ or error.__context__) if e is not None]
    found = [t for t in texts if t]
    key = getattr(error.__cause__, "full_key", None) or _blamed(found[0] if found else "", words)
    what = found[0] if found else type(error).__name__
    return Problem(
        what=shortened(what if not key or key in what else f"{key}: {what}", 2 * SHOWN),
        found=shortened(found[1]) if len(found) > 1 and found[1] != found[0] else None,
        fix=_look(),
    )


def _first(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _blamed(text: str, words: Sequence[str]) -> str:
    """Return the key of the word whose value a message is about, or nothing."""
    for word in reversed(words):
        key, _, value = word.lstrip("+~").partition("=")
        plain = value.strip("'\"")
        if len(plain) > 1 and plain in text:
            return key
    return ""


def _look() -> str:
    return "`razor-run --cfg job` shows the settings there are"
