"""MME, GQA and MMBench of a few rows, in every layout that they are published in."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pictures import picture_bytes

MME_ROWS = (  # picture, question, answer, sub-task
    ("1.png", "Is there a cat?", "Yes", "existence"),
    ("1.png", "Is there a dog?", "No", "existence"),
    ("2.png", "Is there a\ttree?".replace("\t", " "), "Yes", "existence"),
    ("2.png", "Is there a bus?", "No", "existence"),
    ("1.png", "Is it Ada Quill?", "Yes", "celebrity"),
    ("1.png", "Is it Ivo Castellan?", "No", "celebrity"),
)
ENDING = " Please answer yes or no."
GQA_ROWS = (("q1", "p1", "What is it?", "Cat", "query"), ("q2", "p1", "Is it red?", "no", "verify"))


def png(name: str) -> bytes:
    return picture_bytes(sum(name.encode()), size=(32, 32))


def coded(name: str) -> str:
    return base64.b64encode(png(name)).decode()


def write_tsv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(r) for r in rows]), path, row_group_size=2)
    return path


def held(name: str) -> dict[str, object]:
    return {"bytes": png(name), "path": name}


def mme_parquet(root: Path) -> Path:
    rows = [
        {"question_id": f"{t}/{p}", "image": held(p), "question": q + ENDING, "answer": a, "category": t}
        for p, q, a, t in MME_ROWS
    ]
    write_parquet(root / "data" / "test-00000-of-00002.parquet", rows[:3])
    write_parquet(root / "data" / "test-00001-of-00002.parquet", rows[3:])
    return root


def mme_tsv(root: Path) -> Path:
    rows = [
        {
            "index": n,
            "image": coded(p) if n % 2 == 0 else n - 1,  # the second question has its picture from the first
            "image_path": p,
            "question": q + ENDING,
            "answer": a,
            "category": t,
        }
        for n, (p, q, a, t) in enumerate(MME_ROWS)
    ]
    return write_tsv(root / "MME.tsv", rows)


def mme_release(root: Path) -> Path:
    """Write existence with its text files beside the pictures, celebrity with folders of their own."""
    for picture, question, answer, task in MME_ROWS:
        folders = ("", "") if task == "existence" else ("images", "questions_answers_YN")
        for folder in folders:
            (root / task / folder).mkdir(parents=True, exist_ok=True)
        (root / task / folders[0] / picture).write_bytes(png(picture))
        with (root / task / folders[1] / picture).with_suffix(".txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{question}{ENDING}\t{answer}\n")
    return root


def mme_lists(root: Path) -> Path:
    """Write a text file for each sub-task, beside folders of pictures."""
    for picture, question, answer, task in MME_ROWS:
        (root / task).mkdir(parents=True, exist_ok=True)
        (root / task / picture).write_bytes(png(picture))
        with (root / f"{task}.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{picture}\t{question}{ENDING}\t{answer}\n")
    return root


def gqa_parquet(root: Path) -> Path:
    asked = [
        {"id": i, "imageId": p, "question": q, "answer": a, "types": {"structural": s}}
        for i, p, q, a, s in GQA_ROWS
    ]
    split = "testdev_balanced"
    write_parquet(root / f"{split}_instructions" / "testdev-00000-of-00001.parquet", asked)
    shown = [{"id": "p0", "image": held("p0")}, {"id": "p1", "image": held("p1")}]
    write_parquet(root / f"{split}_images" / "testdev-00000-of-00001.parquet", shown)
    return root


def gqa_tsv(root: Path) -> Path:
    rows = [
        {"index": i, "image": coded(p), "question": q, "answer": a}
        for i, p, q, a, _ in GQA_ROWS  # two rows, one picture, each with its bytes
    ]
    return write_tsv(root / "GQA_TestDev_Balanced.tsv", rows)


def gqa_json(root: Path) -> Path:
    entries = {
        i: {"imageId": p, "question": q, "answer": a, "types": {"structural": s}}
        for i, p, q, a, s in GQA_ROWS
    }
    (root / "images").mkdir(parents=True)
    (root / "images" / "p1.jpg").write_bytes(picture_bytes(3, "JPEG", (32, 32)))
    (root / "testdev_balanced_questions.json").write_text(json.dumps(entries))
    return root


def mmbench_row(
    index: int, image: object, options: Sequence[str], answer: str, **more: object
) -> dict[str, object]:
    padded = [*options, *["nan"] * (4 - len(options))]
    return {
        "index": index,
        "question": "What is it?",
        "hint": "nan",
        **dict(zip("ABCD", padded, strict=True)),
        "answer": answer,
        "category": "object_localization",
        "l2-category": "finegrained_perception",
        "image": image,
        "split": "dev",
        **more,
    }
