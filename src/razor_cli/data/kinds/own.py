"""`data=folder`, `data=webdataset`, `data=laion`: pictures of the user's own, beside which benchmarks may
stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from razor_cli.data.ask import Ask
from razor_cli.data.choices import DataKind, Names, Templates
from razor_cli.data.kinds.refusals import (
    check_aliases,
    no_labels,
    no_root,
    not_there,
    nothing_in,
    repeated,
    rooted,
)
from razor_cli.data.kinds.sized import Photographs
from razor_cli.data.prepared import prepared
from razor_cli.data.prompts import DOMAINS
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.own import Request
    from razor_cli.data.sets import ConceptSets
    from razor_cli.data.sources.webdataset import WebDataset as Shards


@dataclass(frozen=True, kw_only=True)
class OwnPictures(Photographs):
    """The settings that pictures of the user's own share."""

    kind: ClassVar[DataKind]
    listed_beforehand: ClassVar[bool] = False

    root: Path | None = None  # folder: DIR/<concept>/*.jpg; shards: DIR of them
    retain_root: Path | None = None  # pictures that must keep working
    retain_domain: str = "object"  # wording of their prompts
    cifar_root: Path | None = None  # null: where `razor data prepare cifar10` puts it
    aliases: list[str] = field(default_factory=list)  # other names of the target
    keyword: str | None = None  # what captions are searched for; null: the target or an alias
    class_names: list[str] = field(default_factory=list)  # names without pictures in the label space
    names_file: Path | None = None  # more such names, one a line
    celeba_root: Path | None = None  # CelebA with names: the utility CelebA-100, and names for FA
    celeba_names: Names = Names.ALL  # which of its names are chosen among
    judge_on_celeba: bool = False  # the target's evaluation pictures are CelebA's
    imagenet_root: Path | None = None  # ImageNet-1K's val part as a utility
    templates: Templates = Templates.OPENAI  # prompts of ImageNet's classes

    def __post_init__(self) -> None:
        super().__post_init__()
        check_aliases(self.aliases)
        if self.retain_domain not in DOMAINS:
            raise ConfigError(
                "data.retain_domain is unknown", allowed=", ".join(DOMAINS), found=self.retain_domain
            )

    def label(self, pictures: str) -> str:
        """Return the kind."""
        return self.kind.value

    def problems(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield what photographs cannot show, folders that are not there or not named, and benchmarks that do
        not fit.
        """
        if ask.domain == "emoji":
            yield ConfigError(
                f"scenario={ask.scenario} shows emoji, data={self.kind} photographs",
                allowed="data=standin",
                found=f"data={self.kind}",
                fix=f"scenario=class data={self.kind} data.root=DIR",
            )
        keys = ("root", "retain_root", "cifar_root", "celeba_root", "imagenet_root", "names_file")
        yield from not_there({k: getattr(self, k) for k in keys})
        if self.root is None:
            yield no_root(self.kind)
        yield from self.unkept(ask)
        if self.celeba_root is not None and ask.domain != "person":
            yield ConfigError(
                f"data.celeba_root shows persons, and scenario={ask.scenario} is about the domain "
                f"{ask.domain}",
                allowed="scenario=identity",
                found=str(self.celeba_root),
            )
        if self.judge_on_celeba and self.celeba_root is None:
            yield ConfigError(
                "data.judge_on_celeba needs the photographs of CelebA",
                allowed="data.celeba_root=DIR",
                found="data.celeba_root=null",
            )
        yield from no_labels(self.kind, ask)
        yield from repeated(self.aliases, ask)

    def unkept(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield nothing: captions of other things are in every shard."""
        yield from ()

    def _drawn(
        self, ask: Ask, draw: Callable[[Request], ConceptSets], shards: type[Shards] | None = None
    ) -> ConceptSets:
        """Return the sets that `draw` makes, with the benchmarks that are named."""
        from razor_cli.data.benchmarks import Benchmarks
        from razor_cli.data.own import Request
        from razor_cli.data.sources.celeba import distinct, read_names
        from razor_cli.data.sources.cifar10 import at_hand
        from razor_cli.data.sources.webdataset import WebDataset as Plain

        root, kept = rooted(self.root, self.kind), self.retain_root
        extra = Benchmarks(
            celeba_root=self.celeba_root,
            celeba_names=self.celeba_names,
            judge_on_celeba=self.judge_on_celeba,
            imagenet_root=self.imagenet_root,
            templates=self.templates,
        )
        names = (ask.target, *self.aliases)
        listed = (*self.class_names, *(read_names(self.names_file) if self.names_file else ()))
        asked = Request(
            target=ask.target,
            aliases=tuple(self.aliases),
            keyword=self.keyword,
            domain=ask.domain,
            root=root,
            retain_root=None if kept and kept.resolve() == root.resolve() else kept,
            retain_domain=self.retain_domain,
            cifar=at_hand(self.cifar_root),
            class_names=distinct((*listed, *extra.names(names, ask.domain))),
            suites=ask.suites,
            sizes=self.sizes(ask),
            max_corrupt=self.max_corrupt,
            min_forget=self.min_forget,
            seed=self.seed_of(ask),
            shards=shards or Plain,
        )
        sets = extra.add(
            draw(asked),
            names=asked.names,
            sizes=asked.sizes,
            seed=asked.seed,
            max_corrupt=asked.max_corrupt,
        )
        return ask.judged(sets)


@dataclass(frozen=True, kw_only=True)
class Folder(OwnPictures):
    """A folder for each concept, the target among them."""

    kind: ClassVar[DataKind] = DataKind.FOLDER

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of a target whose pictures lie in folders called like it."""
        from razor_cli.data.own import folder_sets

        return self._drawn(ask, folder_sets)

    def find_target(self, ask: Ask) -> None:
        """Raise DataError where no folder is called like the target. Lists folders, and opens no picture."""
        from razor_cli.data.sources.folder import Folder as Source

        source = Source(rooted(self.root, self.kind))
        if not source.find((ask.target, *self.aliases)):
            raise source.unknown(ask.target)

    def unkept(self, ask: Ask) -> Iterator[ConfigError]:
        """Yield the refusal of a folder that shows nothing besides the target, with nothing else to keep."""
        from razor_cli.data.sources.photo import same

        if self.root is None or not self.root.is_dir():
            return
        if not any(self.root.iterdir()):
            yield nothing_in(self.root)
            return
        names = {same(name) for name in (ask.target, *self.aliases)}
        alone = [same(p.name) in names for p in self.root.iterdir() if p.is_dir()] == [True]
        if alone and not (self.retain_root or self.cifar_root or prepared("cifar10").is_dir()):
            yield ConfigError(
                "data.retain_root is needed: data.root shows nothing besides the target",
                found="null",
                fix="data.retain_root=DIR, or run `razor data prepare cifar10` once, or put other concepts "
                "beside the target's folder",
            )


@dataclass(frozen=True, kw_only=True)
class WebDataset(OwnPictures):
    """Captioned tar shards, in which the target is found by keyword."""

    kind: ClassVar[DataKind] = DataKind.WEBDATASET

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of a target that captions name."""
        from razor_cli.data.own import webdataset_sets

        return self._drawn(ask, webdataset_sets)


@dataclass(frozen=True, kw_only=True)
class Laion(OwnPictures):
    """Shards of LAION as img2dataset leaves them, in either layout."""

    kind: ClassVar[DataKind] = DataKind.LAION

    n_suite: int = 3000  # CelebA-100 is 3,000 photographs

    def sets(self, ask: Ask) -> ConceptSets:
        """Return the sets of a target that captions name."""
        from razor_cli.data.own import webdataset_sets
        from razor_cli.data.sources.laion import Laion as Shards

        return self._drawn(ask, webdataset_sets, Shards)
