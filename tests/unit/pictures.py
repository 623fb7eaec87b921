"""Small picture files, shards and CIFAR-10 copies that the data tests make for themselves."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture_bytes(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 24)) -> bytes:
    """Return an encoded picture of noise; another seed is another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def write_folder(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """Write DIR/<concept>/<n>.png with pictures that are all different."""
    seed = start
    for concept, count in counts.items():
        (root / concept).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            (root / concept / f"{n:03}.png").write_bytes(picture_bytes(seed))
            seed += 1
    return root


def write_shard(path: Path, samples: list[dict[str, object]]) -> Path:
    """Write a tar shard; each sample maps endings (jpg, txt, json) to bytes, text or an object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for n, sample in enumerate(samples):
            for ending, value in sample.items():
                data = (
                    value
                    if isinstance(value, bytes)
                    else (value if isinstance(value, str) else json.dumps(value)).encode()
                )
                info = tarfile.TarInfo(f"{n:06}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def captioned(captions: list[str], start: int = 0) -> list[dict[str, object]]:
    """Return one sample per caption, each with a picture of its own."""
    return [{"jpg": picture_bytes(start + i, "JPEG"), "txt": c} for i, c in enumerate(captions)]


def cifar_rows(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels [rows], as many of each class, and pictures [rows, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    return rng.permutation(np.arange(rows) % 10), rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)


def write_cifar_parquet(root: Path, train: int = 100, test: int = 50) -> Path:
    """Write the hub's layout, with so many rows."""
    root.mkdir(parents=True, exist_ok=True)
    for seed, (part, rows) in enumerate({"train": train, "test": test}.items()):
        labels, pictures = cifar_rows(rows, seed)
        images = []
        for n, picture in enumerate(pictures):
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": f"{n}.png"})
        table = pa.table({"img": images, "label": pa.array(labels, pa.int64())})
        pq.write_table(table, root / f"{part}-00000-of-00001.parquet")
    return root


def write_cifar_binary(root: Path, train: int = 100, test: int = 50) -> Path:
    """Write torchvision's binary layout with the same photographs as `write_cifar_parquet`."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (part, rows) in enumerate({"train": train, "test": test}.items()):
        labels, pictures = cifar_rows(rows, seed)
        planes = pictures.transpose(0, 3, 1, 2).reshape(rows, -1)
        data = np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1)
        pieces = np.array_split(data, 5) if part == "train" else [data]
        for n, piece in enumerate(pieces, 1):
            (folder / (f"data_batch_{n}.bin" if part == "train" else "test_batch.bin")).write_bytes(
                piece.tobytes()
            )
    return root
