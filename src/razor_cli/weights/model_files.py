"""What is read of a model's files before its weights: settings whose content counts and whose history does
not, and the words in which files are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from razor_cli.errors import RazorError, WeightsError, headline

# What JSON files say of their own history, and the dtype of files that are computed with in model.dtype.
HISTORY = {
    "_commit_hash",
    "_diffusers_version",
    "_name_or_path",
    "dtype",
    "name_or_path",
    "torch_dtype",
    "transformers_version",
}


def content_of(file: Path) -> bytes:
    """Return what a file says: of JSON without history, layout and order. JSON that cannot be read counts as
    it is: whoever loads the model says what is wrong with it.
    """
    content = file.read_bytes()
    if file.suffix != ".json":
        return content
    try:
        return json.dumps(_without_history(json.loads(content)), sort_keys=True).encode()
    except ValueError:
        return content


def _without_history(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_history(v) for k, v in value.items() if k not in HISTORY}
    return [_without_history(v) for v in value] if isinstance(value, list) else value


@contextmanager
def sensible(source: str, owner: str) -> Iterator[None]:
    """Turn what goes wrong with settings of another kind than is expected into one sentence."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise refused(
            f"the settings of '{source}' hold values of another kind than {owner}'s",
            found=headline(error),
            fix="save or fetch its JSON files again",
        ) from error


def refused(what: str, **told: Any) -> WeightsError:
    """Return the refusal of what `model.weights` names."""
    return WeightsError(f"model.weights: {what}", **told)


@contextmanager
def worded(what: str) -> Iterator[None]:
    """Turn whatever a library raises over a model's files into one sentence."""
    try:
        yield
    except RazorError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise refused(what, found=headline(error), fix="save or fetch its files again") from error
