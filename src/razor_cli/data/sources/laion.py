"""LAION pairs as img2dataset leaves them: tar shards, or folders of NAME.jpg, .txt and .json, each with
parquet beside it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from razor_cli.data.sources.members import MAX_TEXT, TEXTS, stem_of
from razor_cli.data.sources.parquet import footer_of
from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.pixels import bytes_of
from razor_cli.data.sources.webdataset import NO_CAPTION, NO_PICTURE, UNREADABLE, Entry, WebDataset
from razor_cli.data.texts import one_line
from razor_cli.errors import DataError

CAPTIONS = ("caption", "TEXT", "text")  # img2dataset's own column, LAION's, and a common one
SUCCESS = "success"
MAX_ROWS = 2_000_000  # of one shard's metadata; img2dataset writes 10,000
BATCH = 10_000  # rows that are read at a time


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a shard's parquet file says: captions of fetched pictures by key, and why the others were not
    fetched.
    """

    captions: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # key -> status


class Laion(WebDataset):
    """Source of captioned pictures in img2dataset's two layouts; `00000.parquet` beside a shard gives
    captions and status.

    A sample whose row has another status than `success` is skipped and counted, as is a row without a
    picture. The caption is the .txt, else the .json, else the parquet's. Metadata alone (url and text,
    nothing fetched) is refused.
    """

    name = "laion"

    def __init__(self, root: Path | str, *, domain: str = "object", setting: str = "data.root") -> None:
        self._metadata: dict[Path, Rows] = {}
        super().__init__(root, domain=domain, setting=setting)

    @classmethod
    def holds(cls, root: Path) -> bool:
        """Tell whether `root` is tar shards, or a folder with pictures beside captions or beside
        img2dataset's metadata.
        """
        return super().holds(root) or (root.is_dir() and any(_is_shard(f, root) for f in _folders(root)))

    def _list_shards(self) -> list[Path]:
        tars = super()._list_shards() if super().holds(self.root) or not self.root.is_dir() else []
        packed = {t.with_suffix("") for t in tars}
        folders = (
            [f for f in _folders(self.root) if f not in packed and _is_shard(f, self.root)]
            if self.root.is_dir()
            else []
        )
        for folder in folders:
            self.stay_inside(folder)
        if not tars and not folders:
            metadata = sorted(self.root.rglob("*.parquet"))[:3]
            what = f"metadata alone: {', '.join(p.name for p in metadata)}" if metadata else None
            raise DataError(
                f"{self.setting}: no LAION shard at '{self.root}'",
                allowed="00000.tar, or 00000/000000000.jpg with .txt or .json, each with 00000.parquet "
                "beside it or without",
                found=what or ", ".join(sorted(p.name for p in self.root.iterdir())[:5]) or "an empty folder",
                fix="fetch the pictures first: img2dataset with output_format webdataset or files",
            )
        return sorted([*tars, *folders])

    def _index(self, number: int) -> list[Entry]:
        path = self.shards[number]
        rows = self._rows(path)
        found = self._folder(number, rows) if path.is_dir() else super()._index(number)
        kept = [e for e in found if _key(e.name) not in rows.failed]
        self.tally.skipped.update(rows.failed.values())
        missing = len({k for k, caption in rows.captions.items() if caption} - {_key(e.name) for e in found})
        self.tally.skipped.update(
            {"fetched, but the picture is not in the shard": missing} if missing else {}
        )
        return kept

    def _told(self, shard: Path) -> Mapping[str, str]:
        return self._rows(shard).captions

    def _folder(self, number: int, rows: Rows) -> list[Entry]:
        """Return the captioned pictures of one folder, in order of their names; what is none is counted."""
        folder = self.shards[number]
        found, stems = [], set()
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
        texts = {e.name for e in entries if os.path.splitext(e.name)[1].lower() in TEXTS}  # noqa: PTH122
        for entry in entries:
            stem, ending = stem_of(entry.name)
            shown = f"{folder.name}/{entry.name}"
            if entry.name.startswith(".") or entry.is_dir(follow_symlinks=False):
                continue
            if not entry.is_file(follow_symlinks=False):
                self.tally.count("links, which are not read", shown)
            elif ending in ENDINGS:
                stems.add(stem)
                if caption := self._beside(folder / stem) or rows.captions.get(stem):
                    size = entry.stat().st_size
                    found.append(Entry(shard=number, name=entry.name, offset=0, size=size, caption=caption))
                else:
                    self.tally.count(NO_CAPTION, shown)
            elif not ending and Path(entry.name).suffix != ".parquet":
                self.tally.count(
                    f"{Path(entry.name).suffix.lower() or 'other'} files, which are not read", shown
                )
        lost = sorted(n for n in texts if n.endswith(".txt") and stem_of(n)[0] not in stems)
        self.tally.count(NO_PICTURE, f"{folder.name}/{lost[0] if lost else ''}", len(lost))
        return found

    def _beside(self, stem: Path) -> str:
        """Return the caption in NAME.txt, else the key `caption` of NAME.json, on one line."""
        for ending in (".txt", ".json"):
            file = stem.with_name(f"{stem.name}{ending}")
            shown = f"{stem.parent.name}/{file.name}"
            try:
                if not file.is_file():
                    continue
                if file.stat().st_size > MAX_TEXT:
                    what = f"captions of more than {MAX_TEXT:,} bytes, which are not read"
                    self.tally.count(what, shown)
                elif caption := self.caption_in(file.read_bytes(), shown):
                    return caption
            except OSError:
                self.tally.count(UNREADABLE, shown)
        return ""

    def _read(self, entry: Entry) -> bytes:
        shard = self.shards[entry.shard]
        if not shard.is_dir():
            return super()._read(entry)
        return bytes_of(shard / entry.name)

    def _rows(self, shard: Path) -> Rows:
        """Return the metadata beside a shard (00000.tar or 00000/ -> 00000.parquet, also inside the folder),
        read once.
        """
        if shard not in self._metadata:
            table = _metadata_of(shard)
            self._metadata[shard] = self._table(table) if table else Rows()
        return self._metadata[shard]

    def _table(self, path: Path) -> Rows:
        try:
            footer = footer_of(path, self.setting, MAX_ROWS, "one shard's metadata")
        except OSError as error:
            self.tally.examined += 1
            self.tally.corrupt[path.name] = f"damaged metadata ({error})".splitlines()[0]
            return Rows()
        names = footer.schema.to_arrow_schema().names
        if "key" not in names:
            raise DataError(
                f"{self.setting}: '{path}' has no column key, so its rows belong to no picture",
                allowed="the parquet file that img2dataset writes beside a shard: key, caption, url, status",
                found=", ".join(names[:8]),
                fix="move it away, or run img2dataset on it",
            )
        caption = next((c for c in CAPTIONS if c in names), None)
        wanted = [c for c in ("key", "status", caption) if c is not None and c in names]
        told: dict[str, str] = {}
        failed: dict[str, str] = {}
        twice: dict[str, None] = {}
        for row in self._rows_of(path, wanted):
            key, status = stem_of(str(row["key"]))[0], str(row.get("status") or SUCCESS)
            text = one_line(str(row.get(caption) or "")) if caption else ""
            if (key in told or key in failed) and (told.get(key), failed.get(key, SUCCESS)) != (text, status):
                twice[key] = None
            elif status != SUCCESS:
                failed[key] = status
            else:
                told[key] = text
        for key in twice:  # which of the rows is the picture's cannot be known
            told.pop(key, None)
            failed.pop(key, None)
        what = "keys of the metadata that stand there twice and differ, which are not read"
        self.tally.count(what, f"{path.name}: {next(iter(twice), '')}", len(twice))
        return Rows(captions=told, failed=failed)

    def _rows_of(self, path: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of some columns, a batch at a time; a file that breaks off is counted."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH, columns=columns):
                yield from batch.to_pylist()
        except (pa.ArrowException, OSError) as error:
            self.tally.examined += 1
            self.tally.corrupt[path.name] = f"damaged metadata ({error})".splitlines()[0]

    def has_metadata(self, shard: Path) -> bool:
        """Tell whether a parquet file lies beside a shard."""
        return _metadata_of(shard) is not None

    def counts(self) -> Counter[str]:
        """Return how many usable pairs each shard holds, by name."""
        return Counter(self.shards[e.shard].name for e in self.entries)


def _metadata_of(shard: Path) -> Path | None:
    """Return the parquet file of a shard: beside it, or inside a folder shard."""
    stem = shard.name.removesuffix(".tar")
    return next(
        (p for p in (shard.parent / f"{stem}.parquet", shard / f"{stem}.parquet") if p.is_file()), None
    )


def _key(name: str) -> str:
    """Return the key of a sample: the last part of its name, without the ending of a picture."""
    return stem_of(name.rsplit("/", 1)[-1])[0]


def _folders(root: Path) -> list[Path]:
    return [root, *sorted(p for p in root.rglob("*") if p.is_dir() and not p.name.startswith("."))]


def _is_shard(folder: Path, root: Path) -> bool:
    """Tell whether a folder holds pictures with captions: .txt or .json of the same name, or a parquet named
    like the folder.
    """
    parquet = (
        (folder.parent / f"{folder.name}.parquet") if folder != root else folder / f"{folder.name}.parquet"
    )
    told = parquet.is_file() or (folder / f"{folder.name}.parquet").is_file()
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if path.suffix.lower() in ENDINGS and (
            told or path.with_suffix(".txt").is_file() or path.with_suffix(".json").is_file()
        ):
            return True
    return False
