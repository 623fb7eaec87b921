"""The user's own pictures: DIR/<concept>/*.jpg|jpeg|png|webp, with captions where there are any."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.photo import ENDINGS, MAX_BYTES, Tally, content_key, decode, flaw, halves, same
from razor_cli.errors import DataError, nearest

FILE_COLUMNS = ("file", "file_name", "filename", "image")
CAPTION_COLUMNS = ("caption", "text")


class Folder:
    """Source of the pictures under `root`, one sub-folder per concept.

    A picture's key is the hash of its file, so that one photograph under two names is one picture. Each
    concept's pictures are cut by the order of their hashes into 50 % train, 25 % validation and 25 %
    evaluation: the same file is always on the same side. `pictures` looks at no more than `limit` files of a
    concept (a fixed choice), for large pools.
    """

    name = "folder"

    def __init__(
        self,
        root: Path | str,
        *,
        domain: str = "object",
        setting: str = "data.root",
        limit: int | None = None,
    ) -> None:
        self.root, self.domain, self.setting, self.limit = Path(root), domain, setting, limit
        self.tally = Tally(setting=setting)
        self._paths: dict[str, Path] = {}  # key -> file
        self._cut: dict[str, dict[str, list[Picture]]] = {}  # concept -> split -> pictures
        self._folders = self._list_folders()

    def concepts(self) -> list[str]:
        """Return the names of the sub-folders that hold pictures, `_` read as a space, in
        alphabetical order.
        """
        return sorted(self._folders)

    def find(self, names: Iterable[str]) -> list[str]:
        """Return the concepts that are one of `names`, ignoring case and reading `_` and `-` as spaces."""
        wanted = {same(n) for n in names}
        return [c for c in self.concepts() if same(c) in wanted]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the sound pictures of one concept in one split."""
        if concept not in self._cut:
            self._cut[concept] = self.gather(self.find([concept]), concept, self.limit)
        return self._cut[concept][split]

    def gather(
        self, concepts: Sequence[str], label: str, limit: int | None = None
    ) -> dict[str, list[Picture]]:
        """Return the sound pictures of several sub-folders as one concept `label`, by split; `limit` files of
        each.
        """
        if not concepts:
            raise self.unknown(label)
        found: dict[str, Picture] = {}
        for folder in [f for c in concepts for f in self._folders[c]]:
            captions = read_captions(folder)
            for path, key in self._inspect(self._list_files(folder, limit)):
                if key in found:
                    self.tally.duplicates += 1
                    continue
                self._paths.setdefault(key, path)
                found[key] = Picture(
                    key=key, concept=label, domain=self.domain, caption=_caption(path, captions)
                )
        ordered = [found[key] for key in sorted(found)]
        first, second = halves(len(ordered))
        return dict(zip(SPLITS, (ordered[:first], ordered[first:second], ordered[second:]), strict=True))

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read pictures as RGB, at most 512 pixels on the shorter side."""
        images = []
        for picture in pictures:
            path = self._paths[picture.key]
            try:
                images.append(decode(path.read_bytes()))
            except OSError as error:
                raise DataError(
                    f"{self.setting}: '{path}' could be read before and no longer can", found=error
                ) from error
        return images

    def unknown(self, name: str) -> DataError:
        """Return the error for a concept that has no sub-folder."""
        names = self.concepts()
        near = nearest(name, names) or names[:10]
        return DataError(
            f"target='{name}': no folder of that name under {self.setting}='{self.root}'",
            allowed=f"{len(names)} folders there, among them: {', '.join(near)}" if names else None,
            fix=f"put the pictures into '{self.root / name}', or name the folder in target or data.aliases",
        )

    def _list_folders(self) -> dict[str, list[Path]]:
        if not self.root.is_dir():
            raise DataError(
                f"{self.setting}: '{self.root}' is not a folder",
                fix=f"point {self.setting} at DIR of DIR/<concept>/*.jpg",
            )
        folders: dict[str, list[Path]] = {}
        spelled: dict[str, str] = {}
        for path in sorted(self.root.iterdir()):
            if path.name.startswith(".") or not path.is_dir():
                continue
            self._stay_inside(path)
            if any(self._is_picture(e) for e in os.scandir(path)):
                name = spelled.setdefault(same(path.name), path.name.replace("_", " ").strip())
                folders.setdefault(name, []).append(path)
        if not folders:
            loose = any(p.suffix.lower() in ENDINGS for p in self.root.iterdir())
            raise DataError(
                f"{self.setting}: no sub-folder with pictures under '{self.root}'",
                allowed="DIR/<concept>/ with .jpg, .jpeg, .png or .webp files",
                found="pictures beside the folders, without a concept" if loose else None,
                fix="give every concept a sub-folder of its name",
            )
        return folders

    @staticmethod
    def _is_picture(entry: os.DirEntry[str]) -> bool:
        return (
            not entry.name.startswith(".")
            and Path(entry.name).suffix.lower() in ENDINGS
            and (entry.is_file() or entry.is_symlink())
        )

    def _list_files(self, folder: Path, limit: int | None) -> list[Path]:
        files = sorted(Path(e.path) for e in os.scandir(folder) if self._is_picture(e))
        for path in files:
            self._stay_inside(path)
        if limit is not None and len(files) > limit:
            files = sorted(
                files, key=lambda p: hashlib.sha256(p.name.encode(errors="surrogateescape")).digest()
            )[:limit]
        return files

    def _stay_inside(self, path: Path) -> None:
        if path.is_symlink() and not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(
                f"{self.setting}: '{path}' is a link out of the folder",
                found=f"it leads to '{path.resolve()}'",
                fix="copy the pictures into the folder, or point the setting at the place they lie in",
            )

    def _inspect(self, files: list[Path]) -> list[tuple[Path, str]]:
        """Return the sound files with their keys, in order; count and name the others."""
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
            verdicts = list(workers.map(self._examine, files))
        self.tally.examined += len(files)
        sound = []
        for path, (key, why) in zip(files, verdicts, strict=True):
            if why is None:
                sound.append((path, key))
            else:
                self.tally.corrupt[str(path.relative_to(self.root))] = why
        return sound

    def _examine(self, path: Path) -> tuple[str, str | None]:
        try:
            if path.stat().st_size > MAX_BYTES:
                return "", f"more than {MAX_BYTES:,} bytes"
            data = path.read_bytes()
        except OSError as error:
            return "", f"cannot be read ({error.strerror})"
        return content_key(self.name, data), flaw(data)


def _caption(path: Path, captions: dict[str, str]) -> str | None:
    """Return the text beside a picture, else its line in the folder's list, else None."""
    beside = path.with_suffix(".txt")
    if beside.is_file() and not beside.is_symlink():
        text = " ".join(beside.read_text("utf-8-sig", errors="replace").split())
        return text or captions.get(path.name)
    return captions.get(path.name)


def read_captions(folder: Path) -> dict[str, str]:
    """Return the captions by file name from `captions.csv` or `captions.jsonl`; raises DataError naming file
    and line.
    """
    table, lines = folder / "captions.csv", folder / "captions.jsonl"
    if table.is_file():
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return _pairs(table, enumerate(csv.DictReader(stream), 2))
    if lines.is_file():
        numbered = (
            (n, line) for n, line in enumerate(lines.read_text("utf-8-sig").splitlines(), 1) if line.strip()
        )
        return _pairs(lines, ((n, _json_row(lines, n, line)) for n, line in numbered))
    return {}


def _json_row(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(
            f"'{path}', line {number}: not JSON", found=error, allowed='{"file": "1.jpg", "caption": "…"}'
        ) from error
    if not isinstance(row, dict):
        raise DataError(
            f"'{path}', line {number}: not an object",
            found=line[:80],
            allowed='{"file": "1.jpg", "caption": "…"}',
        )
    return row


def _pairs(path: Path, rows: Iterable[tuple[int, dict[str, object]]]) -> dict[str, str]:
    captions = {}
    for number, row in rows:
        file = next((row[c] for c in FILE_COLUMNS if row.get(c)), None)
        caption = next((row[c] for c in CAPTION_COLUMNS if row.get(c)), None)
        if not isinstance(file, str) or not isinstance(caption, str):
            raise DataError(
                f"'{path}', line {number}: needs a file name and a caption",
                allowed=f"{' or '.join(FILE_COLUMNS)}, and {' or '.join(CAPTION_COLUMNS)}",
                found=", ".join(str(k) for k in row),
            )
        captions[Path(file).name] = " ".join(caption.split())
    return captions
