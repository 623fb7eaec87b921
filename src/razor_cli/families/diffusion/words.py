"""CLIP's words as a folder: a file of the LDM layout brings no tokenizer, and its encoder reads CLIP's.

The list of merges is the one that the installed open_clip comes with; its ids are those of the published
tokenizer of Stable Diffusion 1.x.
"""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from razor_cli.atomic import staged
from razor_cli.caches import cache_dir
from razor_cli.families.diffusion.vocabulary import END, START
from razor_cli.runs.remembered import file_hash
from razor_cli.weights.model_files import refused

FILE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49152 - 256 - 2  # of the list in the file; what follows belongs to no id
LENGTH = 77
FORM = 1  # of the folder that is written


def words_file() -> Path:
    """Return the list of merges. Raises WeightsError where it is not there."""
    spec = find_spec("open_clip")
    file = Path(next(iter((spec and spec.submodule_search_locations) or ()), "")) / FILE
    if not file.is_file():
        raise refused(
            "CLIP's words are not on this machine, and one file brings no tokenizer",
            found=f"no {FILE} of open_clip",
            fix="pip install open_clip_torch, or give the model as a folder of diffusers",
        )
    return file


def tokenizer_folder() -> Path:
    """Return a folder with CLIP's tokenizer, written where it is not there yet."""
    folder = cache_dir() / "tokenizers" / f"{file_hash(words_file())[:16]}-{FORM}"
    if not folder.is_dir():
        with staged(folder) as part:
            _write(part)
            with suppress(OSError):  # another process has written it meanwhile
                part.replace(folder)
    return folder


def _write(folder: Path) -> None:
    merges, letters = _lines(), _letters()
    words = [*letters, *(c + "</w>" for c in letters), *("".join(m.split()) for m in merges), START, END]
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    texts = {
        "vocab.json": json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges]) + "\n",
        "tokenizer_config.json": json.dumps(settings | special),
    }
    folder.mkdir()
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")


def _lines() -> list[str]:
    text = gzip.decompress(words_file().read_bytes()).decode("utf-8")
    return text.split("\n")[1 : MERGES + 1]


def _letters() -> list[str]:
    """Return what CLIP writes for each byte, in its order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, plain), *(chr(256 + i) for i in range(256 - len(plain)))]
