"""The table of all architectures of open_clip, from what was found of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import open_clip

INTRO = """# Architectures of open_clip

What `model=open_clip model.architecture=NAME model.weights=FILE` takes, name by name. Each was tried with
random weights, in a process of its own: it is loaded, cut into components, edited by RAZOR after one
gradient pass in its image tower and in its text tower, quantized to int8 and int4, and stored as a patch.
The patched file then gives the edited model's embeddings to the bit.

**Tried at** says with how many weights: small ones have two blocks (or one or two a stage) of width 64 and
take tiny pictures. The kind of every layer stays, and so do the names. The others are at full size. Text
towers of transformers and tokenizers of the hub are stand-ins of the same kind.

**Components** are counted at the four granularities: heads, MLPs and convolutions (`head_mlp`); attention,
MLP and convolutions (`attn_mlp`); blocks; single tensors. Every parameter is in exactly one component or
never edited for a reason that is known: **never** counts those at `head_mlp`. They are norms, embeddings,
scales of branches, output biases that all heads share, what stands before the first block and between
stages, and the projections, which `include_projections=true` adds.

**int8** counts the matrices that the scheme covers, with those of the edit.

**From the hub** is what an architecture needs on this machine beside its weights. Where it is not there,
the name is refused with the command that fetches it, before weights are read.

```
make architectures                               # tries what has not been tried, then writes this page
make architectures ARGS="--only RN50,RN101"      # these again; the other rows stay
make architectures ARGS="--only RN50 --full 150" # at full size, where it has no more than 150 million weights
```

What the columns of a convolutional tower mean:

* ConvNeXt, ResNet and FastViT have blocks without heads. A block is then one component for its convolutions
  (`visual.3.conv`) and one for its MLP (`visual.3.mlp`), where it has one. Attention that pools the picture
  has heads (`visual.pool.head0`).
* Quantization covers attention and MLP matrices; `quantization.patch_conv=true` adds the convolutions,
  which are nearly all of a ResNet's image tower.
* Running statistics of batch norms are read from the weights' file and stay as they are: edits, patches and
  quantization change parameters only. `model.oracle` and `model.reseeded` are refused for such models, as
  those statistics would not change with them.
"""


def page(found: Sequence[Mapping[str, Any]], before: str = "") -> str:
    """Return the page; rows of those that are served stay of the page as it was where nothing new was
    found.
    """
    tried = {f["name"] for f in found}
    kept = {name: row for name, row in rows_of(before).items() if name not in tried}
    served = [f for f in found if "patched" in f]
    refused = [f for f in found if "refused" in f]
    failed = [f for f in found if "failed" in f]
    left = sorted(set(open_clip.list_models()) - tried - kept.keys(), key=str.lower)
    total = len(found) + len(kept) + len(left)
    counts = [f"{len(served) + len(kept)} of {total} names are edited, quantized and patched"]
    for what, names in (("refused", refused), ("failed", failed), ("not tried yet", left)):
        counts += [f"{len(names)} {what}"] if names else []
    parts = [INTRO, "## Served\n", ", ".join(counts) + ".\n", served_table(served, kept)]
    if refused:
        rows = [[f"`{f['name']}`", f["image"], f["text"], f["refused"]] for f in refused]
        parts += [
            "## Refused, before anything is fetched\n",
            table(["name", "image tower", "text tower", "why"], rows),
        ]
    if failed:
        rows = [[f"`{f['name']}`", f["failed"].replace("\n", " ")] for f in failed]
        parts += ["## Failed\n", table(["name", "what happened"], rows)]
    if left:
        parts += ["## Not tried yet\n", ", ".join(f"`{name}`" for name in left) + "\n"]
    return "\n".join(parts)


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of a page's table of those that are served, by name."""
    served = text.partition("## Served\n")[2].partition("\n## ")[0]
    cells = [line[2:-2].split(" | ") for line in served.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells}


def served_table(found: Sequence[Mapping[str, Any]], kept: Mapping[str, list[str]]) -> str:
    """Return the rows of those that are served, with those that are kept as they are."""
    rows = list(kept.values())
    for f in found:
        counts = [str(f["components"][g]) for g in ("head_mlp", "attn_mlp", "block", "tensor")]
        size = f"{f['weights'] / 1e6:.0f} M" if f["full"] else f"small, {f['weights'] / 1e6:.1f} M"
        rows.append(
            [
                f"`{f['name']}`",
                f["image"],
                f["text"],
                size,
                *counts,
                str(sum(f["never"].values())),
                f"{f['quantized']['int8']}",
                ", ".join(f["needs"]),
            ]
        )
    heads = [
        "name",
        "image tower",
        "text tower",
        "tried at",
        "head",
        "attn",
        "block",
        "tensor",
        "never",
        "int8",
    ]
    return table([*heads, "from the hub"], sorted(rows, key=lambda row: row[0].strip("`").lower()))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
