"""LLaVAs on disk as patches see them: a patch calls a tensor what it is called in memory by today's library,
whatever spelling the files have; what is written keeps the spelling of the files, and every byte but those of
the changed values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.stored import Place, StoredTensors, names_in
from razor_cli.families.llava.files import CONFIG, INDEX, weights_in
from razor_cli.families.llava.kinds import Variant
from razor_cli.families.llava.names import canonical
from razor_cli.families.llava.standins import stand_in_folder
from razor_cli.weights.checkpoint import PlainLayout
from razor_cli.weights.contained import Fitted
from razor_cli.weights.files import overwrite
from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.layout import Layout
from razor_cli.weights.patch_format import PatchHeader


def layout_of(path: Path) -> Layout | None:
    """Return the layout of a LLaVA's folder, None for anything else."""
    if not (path / CONFIG).is_file() or read_json(path / CONFIG).get("model_type") not in tuple(Variant):
        return None
    files, index = weights_in(path), path / INDEX
    sharded = files != (path / "model.safetensors",)
    homes = read_json(index, LISTS_BYTES)["weight_map"] if sharded else {}
    inner = PlainLayout(path=path, files=files, index=index if sharded else None, homes=homes)
    return LlavaLayout(inner=inner, places=_places(files))


def stand_in(name: str) -> Path | None:
    """Return the folder of an embedded stand-in, or None where there is none of that name."""
    folder = stand_in_folder(name)
    return folder if (folder / CONFIG).is_file() else None


def _places(files: Collection[Path]) -> dict[str, Place]:
    """Return where each tensor lies, by the name that a patch has for it."""
    found: dict[str, Place] = {}
    for file in files:
        for key in names_in(file):
            if (name := canonical(key)) is None:
                continue
            if name in found:
                raise WeightsError(f"{file} holds a tensor twice", found=f"{key}, called {name} here")
            found[name] = Place(file, key)
    return found


@dataclass(frozen=True, kw_only=True)
class LlavaLayout:
    """A LLaVA in a folder of transformers."""

    inner: PlainLayout
    places: Mapping[str, Place]

    @property
    def path(self) -> Path:
        """Return the folder."""
        return self.inner.path

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the weights files."""
        return self.inner.files

    @property
    def is_folder(self) -> bool:
        """Tell that it is one."""
        return True

    def read(self) -> StoredTensors:
        """Return all tensors, read when asked for."""
        return StoredTensors(self.places)

    def left_out(self, changed: Collection[str]) -> list[str]:
        """Return the files that may hold the old weights, and histories."""
        return self.inner.left_out([self.places[name].key for name in changed if name in self.places])

    def adopted(
        self, header: PatchHeader, values: Mapping[str, Tensor], companion: Path | None
    ) -> Fitted | None:
        """Return a patch of the CLIP that the image tower comes from as one of this model; None for a patch
        whose names are this model's.
        """
        from razor_cli.families.llava.adopted import adopted

        if set(header.tensors) <= set(self.places):
            return None
        return adopted(self.path, self.read(), header, values, companion)

    def write(self, target: Path, changed: Mapping[str, Tensor], *, link: bool = False) -> None:
        """Write the folder again in the spelling that it has. Files of weights that change are the same byte
        for byte but for the changed values; all others are copied, or linked to where they lie.
        """
        homes: dict[Path, dict[str, Tensor]] = {}
        for name, value in changed.items():
            homes.setdefault(self.places[name].file, {})[self.places[name].key] = value
        self.inner.write(target, {}, link=link)
        for file, values in homes.items():
            (target / file.name).unlink()  # it may be a second name of the file itself
            overwrite(file, target / file.name, values)
