"""The user's own pictures: DIR/<concept>/*.jpg|jpeg|png|webp, with captions where there are any."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.captions import LISTS, captions_of
from razor_cli.data.sources.photo import ENDINGS, content_key, halves, same, unchanged
from razor_cli.data.sources.pixels import Look, bytes_of, decode, read_picture
from razor_cli.data.sources.tally import Tally
from razor_cli.errors import DataError, nearest

FURTHER = 100_000  # so many pictures in deeper folders are counted, to say that they are not read


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
            files = self._list_files(folder)
            captions = captions_of(
                folder, [p.name for p in files], str(folder.relative_to(self.root)), self.tally
            )
            for path, key in self._inspect(_some(files, limit)):
                if key in found:
                    self.tally.duplicates += 1
                    continue
                self._paths.setdefault(key, path)
                found[key] = Picture(
                    key=key,
                    concept=label,
                    domain=self.domain,
                    caption=captions.get(path.name),
                    file=path.relative_to(self.root).as_posix(),
                )
        ordered = [found[key] for key in sorted(found)]
        first, second = halves(len(ordered))
        return dict(zip(SPLITS, (ordered[:first], ordered[first:second], ordered[second:]), strict=True))

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Read pictures as RGB, at most 512 pixels on the shorter side."""
        images = []
        for picture in pictures:
            path = self._paths[picture.key]
            images.append(decode(unchanged(picture.key, bytes_of(path), path)))
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
        for path in sorted(p for p in self.root.iterdir() if not p.name.startswith(".")):
            if not path.is_dir():
                self.tally.count("files beside the folders of concepts, which are not read", path.name)
                continue
            self._stay_inside(path)
            if any(self._is_picture(e) for e in os.scandir(path)):
                name = spelled.setdefault(same(path.name), path.name.replace("_", " ").strip())
                folders.setdefault(self._sayable(name), []).append(path)
            else:
                self.tally.count("folders without pictures of their own", path.name)
                self._count_deeper(path)
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

    def _sayable(self, name: str) -> str:
        """Return a concept's name. Raises DataError for one that no text can hold."""
        try:
            name.encode()
        except UnicodeEncodeError as error:
            found = ascii(name)
            raise DataError(
                f"{self.setting}: the name of a folder is not UTF-8", found=found, fix="rename it"
            ) from error
        return name

    def _list_files(self, folder: Path) -> list[Path]:
        """Return a folder's pictures in order; what else is there and not used is counted."""
        files = []
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            path = Path(entry.path)
            ending = path.suffix.lower()
            if self._is_picture(entry):
                self._stay_inside(path)
                files.append(path)
            elif entry.name.startswith("."):
                continue
            elif entry.is_dir():
                self._count_deeper(path)
            elif ending != ".txt" and entry.name not in LISTS:
                what = f"{ending} files" if ending else "files without an ending"
                self.tally.count(f"{what}, which are not read", str(path.relative_to(self.root)))
        return files

    def _count_deeper(self, folder: Path) -> None:
        """Count the pictures below a folder that is no concept's."""
        found = 0
        for place, _, names in os.walk(folder):
            for name in sorted(n for n in names if Path(n).suffix.lower() in ENDINGS):
                example = str((Path(place) / name).relative_to(self.root))
                self.tally.count("pictures in deeper folders, which are not read", example)
                found += 1
            if found > FURTHER:
                return

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
        for path, (key, look) in zip(files, verdicts, strict=True):
            if self.tally.passed(str(path.relative_to(self.root)), look):
                sound.append((path, key))
        return sound

    def _examine(self, path: Path) -> tuple[str, Look]:
        data, look = read_picture(path)
        return content_key(self.name, data), look


def _some(files: list[Path], limit: int | None) -> list[Path]:
    """Return a fixed choice of `limit` files."""
    if limit is None or len(files) <= limit:
        return files
    return sorted(files, key=lambda p: hashlib.sha256(p.name.encode(errors="surrogateescape")).digest())[
        :limit
    ]
