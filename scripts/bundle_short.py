"""Put three short trainings together as the embedded stand-in `clip_tiny_short`: base, oracle, and base of
another seed.

    python scripts/train_standins.py clip --cifar DIR --steps 1200 --out BASE
    python scripts/train_standins.py clip --cifar DIR --steps 1200 --without "Taylor Swift" --out ORACLE
    python scripts/train_standins.py clip --cifar DIR --steps 1200 --seed 1 --out RESEEDED
    python scripts/bundle_short.py BASE ORACLE RESEEDED [--target "Taylor Swift"] [--out DIR]

Refuses trainings whose configuration, vocabulary or tensors do not agree, and an oracle or twin that is the
base.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from safetensors.torch import load_file

from razor_cli.families.clip.standins import stand_in_folder
from razor_cli.runs.folder import write_atomic

NAME = "clip_tiny_short"
TRAINED = "clip_tiny"  # what train_standins.py calls its files


def check(folders: list[Path]) -> None:
    """Raise SystemExit unless the trainings are of one architecture and different weights."""
    for name in (f"{TRAINED}.json", "bpe.txt.gz"):
        if len({(f / name).read_bytes() for f in folders}) != 1:
            raise SystemExit(f"{name} differs between the trainings: {', '.join(map(str, folders))}")
    states = [load_file(f / f"{TRAINED}.safetensors") for f in folders]
    shapes = [{n: (t.shape, t.dtype) for n, t in s.items()} for s in states]
    if shapes[1:] != shapes[:-1]:
        raise SystemExit("the trainings hold different tensors")
    contents = {(f / f"{TRAINED}.safetensors").read_bytes() for f in folders}
    if len(contents) != len(folders):
        raise SystemExit("two of the trainings hold the same weights")


def card(folders: list[Path], target: str) -> str:
    """Return one model card of the three: each training's own, under its own heading."""
    titles = ("Base", f"Oracle: retrained without {target}", "Base of another seed")
    texts = [(f / "MODEL_CARD.md").read_text(encoding="utf-8").split("\n", 1)[1].strip() for f in folders]
    parts = [f"## {title}\n\n{text}\n" for title, text in zip(titles, texts, strict=True)]
    intro = (
        "Three trainings on a short schedule, to hold edits against a model that never saw the "
        "target, and that distance"
    )
    return "\n".join([f"# {NAME}, a stand-in\n", f"{intro}\nagainst how far apart two seeds are.\n", *parts])


def main() -> None:
    """Parse the command line, check, copy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("base", "oracle", "reseeded"):
        parser.add_argument(name, type=Path, help="output folder of train_standins.py")
    parser.add_argument("--target", default="Taylor Swift", help="whom the oracle was trained without")
    parser.add_argument("--out", type=Path, default=stand_in_folder(NAME))
    args = parser.parse_args()
    folders = [args.base, args.oracle, args.reseeded]
    check(folders)
    args.out.mkdir(parents=True, exist_ok=True)
    oracle = f"oracle_{args.target.lower().replace(' ', '_')}"
    for folder, name in zip(folders, (NAME, oracle, "reseeded"), strict=True):
        write_atomic(args.out / f"{name}.safetensors", (folder / f"{TRAINED}.safetensors").read_bytes())
    write_atomic(args.out / f"{NAME}.json", (args.base / f"{TRAINED}.json").read_bytes())
    write_atomic(args.out / "bpe.txt.gz", (args.base / "bpe.txt.gz").read_bytes())
    write_atomic(args.out / "MODEL_CARD.md", card(folders, args.target).encode())
    print(f"{args.out}: {', '.join(sorted(p.name for p in args.out.iterdir()))}")


if __name__ == "__main__":
    main()
