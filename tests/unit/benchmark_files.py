"""ImageNet, LAION and CelebA in small, in the formats in which people have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pictures import picture_bytes, write_shard
from scipy.io import savemat

from razor_cli.data.sampling import Sizes

TENCH, GOLDFISH, SHARK, HEN, CRANE = "n01440764", "n01443537", "n01484850", "n01514859", "n02012849"
FEW = Sizes(
    forget=10,
    retain=40,
    validation_forget=4,
    validation_retain=10,
    evaluation_forget=6,
    evaluation_retain=20,
    suite=10,
)
NUMBERS = {TENCH: 0, GOLDFISH: 1, SHARK: 2, HEN: 8, CRANE: 134}  # by sorted wnid


def write_train(
    root: Path, wnids: Sequence[str] = tuple(NUMBERS), count: int = 20, val: int = 6
) -> tuple[Path, list[str]]:
    """Write train/<wnid>/<wnid>_<n>.JPEG, and return the val pictures' wnids in the order of their official
    names.
    """
    for n, wnid in enumerate(wnids):
        (root / "train" / wnid).mkdir(parents=True)
        for i in range(count):
            (root / "train" / wnid / f"{wnid}_{i}.JPEG").write_bytes(picture_bytes(1000 * n + i, "JPEG"))
    return root, [wnids[i % len(wnids)] for i in range(val * len(wnids))]


def write_val(folder: Path, order: Sequence[str], flat: bool) -> None:
    """Write ILSVRC2012_val_00000001.JPEG and so on, flat or in a folder per wnid."""
    for i, wnid in enumerate(order, 1):
        home = folder if flat else folder / wnid
        home.mkdir(parents=True, exist_ok=True)
        (home / f"ILSVRC2012_val_{i:08}.JPEG").write_bytes(picture_bytes(90_000 + i, "JPEG"))


def write_imagenet(root: Path, wnids: Sequence[str] = tuple(NUMBERS), count: int = 20, val: int = 6) -> Path:
    """Write the sorted layout: train/<wnid>/ and val/<wnid>/."""
    root, order = write_train(root, wnids, count, val)
    write_val(root / "val", order, flat=False)
    return root


def write_solution(path: Path, order: Sequence[str]) -> None:
    """Write Kaggle's table, which is not in the order of the names, with boxes behind the wnids."""
    rows = [f"ILSVRC2012_val_{i:08},{wnid} 85 1 499 272 {wnid} 1 2 3 4" for i, wnid in enumerate(order, 1)]
    path.write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]) + "\n")


def write_kit(folder: Path, order: Sequence[str], *, matlab: bool = True) -> None:
    """Write the development kit's numbers, which run against the sorted wnids, and its list of classes."""
    folder.mkdir(parents=True, exist_ok=True)
    kit = {wnid: n for n, wnid in enumerate(sorted(set(order), reverse=True), 1)}
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{kit[w]}\n" for w in order))
    if matlab:
        from scipy.io import savemat

        dtype = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")]
        table = np.array([(n, w, "some words") for w, n in kit.items()], dtype=dtype)
        savemat(folder / "meta.mat", {"synsets": table})


def write_parquet(
    root: Path,
    labels: Mapping[str, Sequence[int]],
    group: int = 7,
    names: int | None = 1000,
    broken: Sequence[int] = (),
) -> Path:
    """Write the hub's files, two for each part, rows in the order given, few rows in a group; `broken` train
    rows are cut.
    """
    (root / "data").mkdir(parents=True)
    for part, all_labels in labels.items():
        for number, piece in enumerate(np.array_split(np.array(all_labels), 2)):
            first = number * len(np.array_split(np.array(all_labels), 2)[0])
            images = []
            for i, _ in enumerate(piece):
                data = picture_bytes((0 if part == "train" else 50_000) + first + i, "JPEG")
                images.append(
                    {
                        "bytes": data[:99] if part == "train" and first + i in broken else data,
                        "path": f"{i}.JPEG",
                    }
                )
            table = pa.table({"image": images, "label": pa.array(piece, pa.int64())})
            if names is not None:
                label = {"names": [str(n) for n in range(names)], "_type": "ClassLabel"}
                table = table.replace_schema_metadata(
                    {"huggingface": json.dumps({"info": {"features": {"label": label}}})}
                )
            pq.write_table(
                table, root / "data" / f"{part}-{number:05}-of-00002.parquet", row_group_size=group
            )
    return root


def metadata_rows(captions: Sequence[str | None], caption: str = "caption") -> list[dict[str, object]]:
    """Return img2dataset's rows; None stands for a picture that was not fetched."""
    return [
        {
            "key": f"{n:09}",
            "url": f"http://example.org/{n}.jpg",
            caption: text or "gone",
            "status": "success" if text else ("failed_to_download" if n % 2 else "failed_to_resize"),
            "error_message": None if text else "404",
            "width": 24 if text else None,
        }
        for n, text in enumerate(captions)
    ]


def write_files_shard(
    root: Path, name: str, captions: Sequence[str | None], start: int = 0, parquet: bool = True
) -> None:
    """Write img2dataset's output_format=files: NAME/000000000.jpg, .txt and .json, and NAME.parquet."""
    (root / name).mkdir(parents=True)
    for n, text in enumerate(captions):
        if text:
            stem = root / name / f"{n:09}"
            stem.with_suffix(".jpg").write_bytes(picture_bytes(start + n, "JPEG"))
            stem.with_suffix(".txt").write_text(text)
            stem.with_suffix(".json").write_text(
                json.dumps({"caption": text, "key": stem.name, "status": "success"})
            )
    if parquet:
        pq.write_table(pa.Table.from_pylist(metadata_rows(captions)), root / f"{name}.parquet")
    (root / f"{name}_stats.json").write_text("{}")


def write_tar_shard(root: Path, name: str, captions: Sequence[str | None], start: int = 0) -> None:
    """Write img2dataset's output_format=webdataset without captions in the shard: they are in NAME.parquet
    alone, as TEXT.
    """
    samples = [{"jpg": picture_bytes(start + n, "JPEG")} if text else {} for n, text in enumerate(captions)]
    path = write_shard(root / f"{name}.tar", [dict(s) for s in samples])
    rows = [{**r, "key": f"{n:06}"} for n, r in enumerate(metadata_rows(captions, "TEXT"))]
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))


def write_celeba(root: Path, counts: Mapping[str, int], *, header: bool = True) -> Path:
    """Write list_identity_celeba.txt in the order of the files and img_align_celeba/, identities dealt out in
    turn.
    """
    (root / "img_align_celeba").mkdir(parents=True)
    left, lines = dict(counts), []
    while any(left.values()):
        for name in [n for n, count in left.items() if count]:
            left[name] -= 1
            number = len(lines) + 1
            lines.append(f"{number:06}.jpg {name}")
            (root / "img_align_celeba" / f"{number:06}.jpg").write_bytes(
                picture_bytes(70_000 + number, "JPEG")
            )
    head = [str(len(lines)), "image_id identity_name"] if header else []
    (root / "list_identity_celeba.txt").write_text("\n".join([*head, *lines]) + "\n")
    return root


def broken_layout(root: Path, which: str) -> Path:
    """Write ImageNet-1K with one thing missing or wrong."""
    if which == "empty":
        root.mkdir(exist_ok=True)
    elif which == "no val":
        write_train(root)
    elif which == "no answers":
        _, order = write_train(root)
        write_val(root / "val", order, flat=True)
    elif which == "kit without list":
        _, order = write_train(root)
        write_val(root / "val", order, flat=True)
        write_kit(root, order, matlab=False)
    elif which == "short kit":
        _, order = write_train(root)
        write_val(root / "val", order, flat=True)
        write_kit(root, order[:-1])
    elif which == "names":
        for name in ("dog", "cat"):
            (root / "train" / name).mkdir(parents=True)
        (root / "val").mkdir()
    elif which == "other labels":
        write_parquet(root, {"train": [0, 1000], "validation": [0, 1]}, names=None)
    elif which == "other names":
        write_parquet(root, {"train": [0, 1], "validation": [0, 1]}, names=100)
    else:
        write_parquet(root, {"train": [0, 1]})
    return root


def photo(path: Path, seed: int, kind: str = "JPEG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture_bytes(seed, kind))


def write_compcars(root: Path) -> Path:
    """Write image/<make>/<model>/<year>/*.jpg and the names as CompCars has them: cells, of which some are
    empty.
    """
    seed = 1
    for make, model in ((1, 1), (1, 3), (2, 4), (2, 5)):
        for i in range(20):
            photo(root / f"image/{make}/{model}/201{i % 2}/{i:04}.jpg", seed)
            seed += 1
    (root / "misc").mkdir()
    makes = np.array([["Audi"], ["Ford"]], dtype=object)
    models = np.array(
        [["Audi A7"], [np.array([], dtype=object)], ["Audi A5 coupe"], ["Mustang"], ["Focus"]], dtype=object
    )
    savemat(root / "misc/make_model_name.mat", {"make_names": makes, "model_names": models})
    return root
