"""How a model that answers questions is examined: what it is asked, how answers are read, what a step search
looks at. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.errors import ConfigError
from razor_cli.families.llava.fa import FaMode
from razor_cli.families.llava.matcher import NameMatch

if TYPE_CHECKING:
    from razor_cli.contract.spec import Spec

SETS = ("mme", "gqa", "mmbench")
RANGES = {
    "fa_images": (1, 10_000),
    "fa_min_base": (0, 100),
    "retain_images": (1, 10_000),
    "near": (0, 20),
    "binding_images": (0, 10_000),
    "attribute_images": (0, 10_000),
    "mme_pictures": (0, 1000),
    "gqa_questions": (0, 100_000),
    "mmbench_questions": (0, 100_000),
    "max_new_tokens": (1, 1024),
    "batch": (1, 4096),
    "search_prompts": (2, 100),
    "search_images": (1, 10_000),
    "search_retain_images": (1, 10_000),
    "search_answers": (0, 10_000),
    "shown": (0, 12),
    "bootstrap_draws": (100, 100_000),
}


class Options(StrEnum):
    """How questions with options are put."""

    AUTO = "auto"  # by the option's text to a stand-in, which learned no letters; else by the letter
    LETTER = "letter"
    SELECT = "select"
    TAUGHT = "taught"  # the letter, in the layout that the stand-in was taught
    TAUGHT_TEXT = "taught_text"  # the same for the option's text


@dataclass(frozen=True, kw_only=True)
class AskedMetrics:
    """What is asked, of which pictures, and which numbers are made of the answers."""

    fa_mode: FaMode = FaMode.MULTI
    fa_prompts: list[str] = field(default_factory=list)  # empty: those that ship
    fa_match: NameMatch = NameMatch.FULL
    fa_images: int = 40  # evaluation pictures of the target
    fa_min_base: float = 50.0  # percent of names that the unedited model must tell
    retain_images: int = 2  # of each other name
    near: int = 3  # nearest names
    binding_images: int = 12
    attribute_images: int = 12
    knowledge: bool = True  # of names without a picture
    mme: Path | None = None  # published sets; null: of a stand-in the drawn ones of their shape
    gqa: Path | None = None
    mmbench: Path | None = None
    questions: int | None = None  # of each published set; null: all
    mme_pictures: int = 18  # of each sub-task of the drawn set
    gqa_questions: int = 180  # of the drawn set
    mmbench_questions: int = 18  # of the drawn set
    mmbench_wording: Options = Options.AUTO
    max_new_tokens: int = 50  # of an answer that should tell a name
    batch: int = 64  # questions answered at once
    search_prompts: int = 2  # of fa_prompts, in each trial
    search_images: int = 40  # validation pictures of the target, in each trial
    search_retain_images: int = 1  # validation pictures of each other name
    search_answers: int = 40  # further validation pictures
    shown: int = 3  # pictures of each section of answers.png
    bootstrap_draws: int = 2000  # resamples behind each interval of a mean

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"metrics.{name} is out of range", allowed=f"{low} to {high}", found=getattr(self, name)
                )
        if any(not prompt.strip() for prompt in self.fa_prompts):
            raise ConfigError("metrics.fa_prompts holds an empty question", found=self.fa_prompts)
        if self.fa_prompts and len(self.fa_prompts) < self.search_prompts:
            raise ConfigError(
                "metrics.search_prompts is more than the questions there are",
                allowed=f"2 to {len(self.fa_prompts)} (metrics.fa_prompts)",
                found=self.search_prompts,
                fix="two or more: a search by one finds edits that change the answer to that one alone",
            )
        if self.questions is not None and self.questions < 1:
            raise ConfigError("metrics.questions is out of range", allowed=">= 1", found=self.questions)
        for name, folder in self.published.items():
            if not folder.is_dir():
                raise ConfigError(f"metrics.{name}: no such folder", found=str(folder))

    @property
    def published(self) -> dict[str, Path]:
        """Return the folders of published question sets that were given, by name."""
        given = {name: getattr(self, name) for name in SETS}
        return {name: path.expanduser() for name, path in given.items() if path is not None}

    def fitted(self, model: Spec) -> AskedMetrics:
        """Return the settings for a model, with what `auto` means for it."""
        if self.mmbench_wording is not Options.AUTO:
            return self
        return replace(self, mmbench_wording=Options.TAUGHT_TEXT if model.stand_in else Options.LETTER)

    def judge_hashes(self, sets: object) -> Mapping[str, str]:
        """Return the hashes of the published question sets: what answers are held against. Raises DataError
        for a folder that does not hold one.
        """
        from razor_cli.families.llava.benchmarks.published import checked_digest

        return {name: checked_digest(name, folder) for name, folder in self.published.items()}
