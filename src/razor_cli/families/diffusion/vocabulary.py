"""What the files of a CLIP tokenizer say of it, without the library that follows them. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.model_files import refused

START, END = "<|startoftext|>", "<|endoftext|>"  # of CLIP, where the files name no others


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A tokenizer as far as an encoder must agree with it."""

    kind: str | None  # its class, where the files say so
    size: int  # one more than the largest id
    start: int | None
    end: int | None
    longest: int | None  # tokens of a text


def read_vocabulary(folder: Path) -> Vocabulary:
    """Return what a folder says of its tokenizer. Raises WeightsError where words or their merges are
    missing.
    """
    ids = _ids(folder)
    settings = _maybe(folder / "tokenizer_config.json")
    special = _maybe(folder / "special_tokens_map.json")
    added = settings.get("added_tokens_decoder")
    if isinstance(added, dict):
        ids |= {_content(told): int(i) for i, told in added.items() if i.isdigit() and _content(told)}
    named = {
        key: ids.get(_content(settings.get(key)) or _content(special.get(key)) or default)
        for key, default in (("bos_token", START), ("eos_token", END))
    }
    longest = settings.get("model_max_length")
    return Vocabulary(
        kind=settings.get("tokenizer_class"),
        size=max(ids.values()) + 1,
        start=named["bos_token"],
        end=named["eos_token"],
        longest=int(longest) if isinstance(longest, int | float) else None,
    )


def _ids(folder: Path) -> dict[str, int]:
    ids: dict[str, int] = {}
    whole = folder / "tokenizer.json"
    if whole.is_file():
        content = read_json(whole, LISTS_BYTES)
        model = content.get("model")
        ids |= _numbers(model.get("vocab") if isinstance(model, dict) else None)
        added = content.get("added_tokens")
        ids |= _numbers({_content(a): a.get("id") for a in added or () if isinstance(a, dict)})
    elif absent := [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]:
        raise refused(
            f"the folder '{folder}' has no tokenizer: texts could not be told apart",
            allowed="vocab.json and merges.txt, or tokenizer.json",
            found=f"no tokenizer.json, no {', no '.join(absent)}",
            fix="save the model's tokenizer into the folder: tokenizer.save_pretrained(FOLDER)",
        )
    else:
        ids |= _numbers(read_json(folder / "vocab.json", LISTS_BYTES))
    ids |= _numbers(_maybe(folder / "added_tokens.json"))
    if not ids:
        raise refused(f"the tokenizer in '{folder}' knows no words", found="no vocabulary in its files")
    return ids


def _numbers(told: Any) -> dict[str, int]:
    return {k: v for k, v in told.items() if isinstance(v, int)} if isinstance(told, Mapping) else {}


def _content(told: Any) -> str:
    """Return a token's text: files hold it alone, or with how it is stripped."""
    text = told.get("content") if isinstance(told, dict) else told
    return text if isinstance(text, str) else ""


def _maybe(file: Path) -> dict[str, Any]:
    return read_json(file, LISTS_BYTES) if file.is_file() else {}
