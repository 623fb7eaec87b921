"""Choices of the data settings, apart from the sources that know them, so that a configuration can be read
without these.
"""

from __future__ import annotations

from enum import StrEnum


class Templates(StrEnum):
    """Which of open_clip's sentences an ImageNet class embedding is the mean of."""

    OPENAI = "openai"  # 80, as CLIP's zero-shot accuracy is published
    SIMPLE = "simple"  # 7, as SLUG's utility is measured
    ONE = "one"  # the sentence of every other zero-shot task


class Names(StrEnum):
    """The names of CelebA that zero-shot accuracy and FA choose among."""

    ALL = "all"  # every name of the list, as SLUG does: 10,177 texts for each state of the model
    FREQUENT = "frequent"  # the 100 measured ones: a hundred times fewer texts, an easier task


class CoarseText(StrEnum):
    """What a coarse label is called in text."""

    NAMES = "names"  # by its own name, in every template
    MEMBERS = (
        "members"  # by its members: the mean of their prompts, for a model that never read the group's name
    )


class DataKind(StrEnum):
    """Where pictures come from."""

    STANDIN = "standin"
    FOLDER = "folder"
    WEBDATASET = "webdataset"
    CIFAR10 = "cifar10"
    IMAGENET = "imagenet"
    LAION = "laion"
    CELEBA = "celeba"
    UNLEARNCANVAS = "unlearncanvas"
    GENERATED = "generated"


class AnswerSet(StrEnum):
    """Which pictures a model that draws is judged by."""

    REDUCED = "reduced"  # as many as the settings say, seeds of their own for every prompt
    ANSWER_SET = "answer_set"  # every theme with every object at the benchmark's five seeds
    SLUG_QUICK = "slug_quick"  # SLUG's: ten of the target and of others, other sentences


class Preserve(StrEnum):
    """Which prompts an edit is told to keep; what is left out is judged all the same."""

    ALL = "all"
    HALF = "half"  # half of the pairs of a name and a partner, each name with some; of single names half
    NAMES = "names"  # half of the other names, the nearest not among them
    NONE = "none"  # sentences that name no concept, alone


class Styles(StrEnum):
    """Which styles of UnlearnCanvas take part."""

    BENCH50 = "bench50"  # those of the published numbers
    ALL60 = "all60"


class SeedPrompt(StrEnum):
    """What UnlearnCanvas' photographs (Seed_Images) are called in prompts."""

    PHOTO = "photo"  # "in Photo style", as the base model's sampler asks
    LITERAL = "literal"  # "in Seed Images style", as the samplers of the methods ask


class LabelledKind(StrEnum):
    """What labelled photographs below a taxonomy are called; all are read alike."""

    LABELLED = "labelled"
    IMGNETDOGS = "imgnetdogs"
    COMPCARS = "compcars"
