"""A folder of diffusers, read as far as nothing of its weights is needed. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import (
    CLASSES,
    CONFIG,
    INDEX,
    OPTIONAL,
    PIPELINES,
    SCHEDULE,
    SERVED,
    T5,
    TOKENIZER_FILES,
    Part,
    PipelineFiles,
)
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.model_files import refused

SHARED = "shared.json"  # component -> the folder beside this one that holds it
STEMS = {"transformers": ("model", "pytorch_model"), "diffusers": ("diffusion_pytorch_model",) * 2}
AGAIN = "fetch or save the whole model again"
OTHERS = (  # how the class of a pipeline begins -> what people call it
    ("StableDiffusionXL", "Stable Diffusion XL"),
    ("Flux", "FLUX"),
    ("StableDiffusionInpaint", "an inpainting model"),
    ("StableDiffusionImg2Img", "drawing from a picture"),
    ("StableCascade", "Stable Cascade"),
    ("PixArt", "PixArt"),
    ("LatentConsistency", "a latent consistency model"),
)


def read_folder(path: Path, *, variant: str | None, t5: bool) -> tuple[PipelineFiles, list[WeightsError]]:
    """Return what a folder says of its pipeline, and everything in it that keeps the pipeline from being
    loaded. Raises WeightsError for a folder that is none of a served pipeline.
    """
    index = _index(path)
    kind = _kind(path, index)
    reader = _Reader(path, index, kind, variant, t5)
    reader.read()
    files = PipelineFiles(
        path=path,
        kind=kind,
        parts=reader.parts,
        tokenizers=reader.tokenizers,
        scheduler=reader.scheduler,
        schedule=reader.schedule,
        beside=tuple(reader.beside),
    )
    return files, reader.problems


def _index(path: Path) -> dict[str, Any]:
    if not (path / INDEX).is_file():
        raise refused(
            f"'{path}' is no pipeline of diffusers",
            allowed=f"a folder with {INDEX} of a {SERVED}, or a .safetensors file of Stable Diffusion 1.x",
            found=_instead(path),
            fix="give the folder that holds model_index.json: model.weights=DIR",
        )
    return read_json(path / INDEX)


def _instead(path: Path) -> str:
    """Return what a folder is where it is no pipeline."""
    if (path.parent / INDEX).is_file():
        return f"one component of a pipeline: {INDEX} lies in the folder above"
    if (path / CONFIG).is_file():
        told = read_json(path / CONFIG)
        return f"one model alone: {told.get('_class_name') or told.get('model_type') or CONFIG}"
    files = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", ".ckpt"))
    return f"no {INDEX}" + (f"; weights files: {', '.join(files[:3])}" if files else "")


def _kind(path: Path, index: Mapping[str, Any]) -> Kind:
    found = index.get("_class_name")
    for kind, name in PIPELINES.items():
        if found == name:
            return kind
    known = next((called for start, called in OTHERS if str(found).startswith(start)), None)
    raise refused(
        f"the pipeline in '{path}' is not served",
        allowed=SERVED,
        found=f"{found}" + (f" ({known})" if known else ""),
        fix="give a folder of one of these two pipelines, or the stand-in: model=sd_tiny",
    )


class _Reader:
    """Reads the components of one folder, and goes on where one of them cannot be had."""

    def __init__(
        self, path: Path, index: Mapping[str, Any], kind: Kind, variant: str | None, t5: bool
    ) -> None:
        self.path, self.index, self.kind, self.variant, self.t5 = path, index, kind, variant, t5
        self.shared = read_json(path / SHARED) if (path / SHARED).is_file() else {}
        self.parts: dict[str, Part] = {}
        self.tokenizers: dict[str, Path] = {}
        self.scheduler, self.schedule = "", {}  # type: tuple[str, dict[str, Any]]
        self.beside: list[Path] = []
        self.problems: list[WeightsError] = []
        self.variants: set[str] = set()  # those that some component has
        self.of_variant = False  # one component at least has the variant asked for

    def read(self) -> None:
        for name, allowed in CLASSES[self.kind].items():
            try:
                self._component(name, allowed)
            except WeightsError as error:
                self.problems.append(error)
        if self.variant and self.parts and not self.of_variant:
            self.problems.append(
                WeightsError(
                    f"model.variant={self.variant}: no component in '{self.path}' has such weights",
                    allowed=", ".join(sorted(self.variants)) or "null: there are no variants",
                    found=self.variant,
                    fix=f"model.variant={min(self.variants)}" if self.variants else "model.variant=null",
                )
            )

    def _component(self, name: str, allowed: Sequence[str]) -> None:
        said: Any = self.index.get(name)
        listed = isinstance(said, list) and len(said) == 2 and said[1] is not None
        if name in OPTIONAL and (not self.t5 or not listed):
            return
        if not listed or said[1] not in allowed:
            raise refused(
                f"{self.path / INDEX}: {name} is not what a {PIPELINES[self.kind]} is made of here",
                allowed=", ".join(allowed),
                found=said[1] if listed else "nothing",
                fix=f"give a folder whose {name} is one of these",
            )
        folder = self._folder(name)
        if name == "scheduler":
            self.scheduler, self.schedule = said[1], read_json(folder / SCHEDULE)
            self.beside.append(folder / SCHEDULE)
        elif name.startswith("tokenizer"):
            self.tokenizers[name] = folder
            self.beside += [folder / file for file in TOKENIZER_FILES if (folder / file).is_file()]
        else:
            self._net(name, said, folder)

    def _folder(self, name: str) -> Path:
        home = self.shared.get(name)
        if home is not None and (not isinstance(home, str) or not re.fullmatch(r"\w[\w.-]*", home)):
            raise refused(f"{self.path / SHARED}: {name} names no folder beside this one", found=repr(home))
        folder = (self.path.parent / home if home else self.path) / name
        needed = {"scheduler": SCHEDULE}.get(name, "" if name.startswith("tokenizer") else CONFIG)
        if folder.is_dir() and (folder / needed).exists():
            return folder
        found = f"no file {needed} in it" if folder.is_dir() else f"no folder '{name}'"
        if name in OPTIONAL:
            raise refused(
                f"'{self.path}' lists {name}, of T5, and does not hold it",
                found=found,
                fix=f"model.t5=off loads the pipeline without T5, or fetch {name}",
            )
        raise refused(f"'{self.path}' lacks the component {name}", found=found, fix=AGAIN)

    def _net(self, name: str, said: Sequence[str], folder: Path) -> None:
        config = read_json(folder / CONFIG)
        stems = STEMS["transformers" if name.startswith("text_encoder") else "diffusers"]
        files = self._weights(name, folder, stems)
        self.parts[name] = Part(name=name, kind=said[1], config=config, files=files)
        self.beside.append(folder / CONFIG)

    def _weights(self, name: str, folder: Path, stems: Sequence[str]) -> tuple[Path, ...]:
        """Return the weights of a component: of the variant asked for where it has it, else the plain ones;
        safetensors before others.
        """
        present = {p.name for p in folder.iterdir()}
        self.variants |= (variants := _variants(present, stems))
        for variant in (self.variant, None) if self.variant else (None,):
            mark, index_mark = (f".{variant}", f".{variant}") if variant else ("", "")
            for stem, suffix in zip(stems, (".safetensors", ".bin"), strict=True):
                whole, index = f"{stem}{mark}{suffix}", f"{stem}{suffix}.index{index_mark}.json"
                if present.isdisjoint({whole, index}):
                    continue
                self.of_variant |= variant is not None
                return (folder / whole,) if whole in present else _shards(folder, index)
        switch = f"model.variant={min(variants)}" if variants else None
        off = f"model.t5=off loads the pipeline without T5, or fetch {name}" if name == T5 else AGAIN
        raise refused(
            f"the component {name} of '{self.path}' has no weights",
            allowed=", ".join(f"{s}{e}" for s, e in zip(stems, (".safetensors", ".bin"), strict=True)),
            found=f"weights of the variants {', '.join(sorted(variants))}" if variants else "none of them",
            fix=switch or off,
        )


def variants_in(path: Path) -> list[str]:
    """Return the variants of weights that the components of a folder have."""
    folders = [p for p in path.iterdir() if p.is_dir()]
    stems = sorted({stem for pair in STEMS.values() for stem in pair})
    return sorted({v for f in folders for v in _variants({p.name for p in f.iterdir()}, stems)})


def _variants(present: set[str], stems: Sequence[str]) -> set[str]:
    either = "|".join(map(re.escape, dict.fromkeys(stems)))
    form = re.compile(
        rf"(?:{either})(?:\.(?:safetensors|bin)\.index)?\.([A-Za-z0-9_]+)\.(?:safetensors|bin|json)"
    )
    return {m.group(1) for name in present if (m := form.fullmatch(name))}


def _shards(folder: Path, index: str) -> tuple[Path, ...]:
    homes = read_json(folder / index, LISTS_BYTES).get("weight_map")
    if not isinstance(homes, dict) or not homes or not all(isinstance(s, str) for s in homes.values()):
        raise refused(
            f"{folder / index} is not a shard index", found="no weight_map of names and files", fix=AGAIN
        )
    names = sorted(set(homes.values()))
    for name in names:
        # A shard is a plain file of the folder: a name with a path in it could point anywhere.
        if name != Path(name).name or "\\" in name or Path(name).suffix not in (".safetensors", ".bin"):
            raise refused(
                f"{folder / index} names a shard that is no weights file of its folder", found=repr(name)
            )
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise refused(
            f"{folder / index} names shards that are missing",
            found=f"{len(absent)} of {len(names)}: {', '.join(absent[:3])}",
            fix=AGAIN,
        )
    return tuple(folder / name for name in names)
