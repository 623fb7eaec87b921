"""Answers of a LLaVA to questions about pictures, and what it would have said of given answers.

A picture is looked at once, however many questions are asked about it: its tokens behind the projector stand
in the prompts' places, so that edits of tower and projector are all in `features`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from razor_cli.families.llava.kinds import Variant, effective
from razor_cli.families.llava.prompts import Prompts
from razor_cli.weights.bitsandbytes import without_cast_warnings

SHOWN = 64  # pictures in the tower at once


@dataclass(frozen=True)
class Question:
    """A question about a picture, given by its row among those that are shown; None: about no picture."""

    picture: int | None
    text: str


@dataclass(frozen=True)
class Pixels:
    """Prepared pictures: [n, 3, H, W], or with tiles [n, tiles, 3, H, W] and the size of each picture."""

    values: Tensor
    sizes: Tensor | None = None  # [n, 2] height and width before preparation

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int) -> Pixels:
        """Return the pictures start:stop."""
        return Pixels(self.values[start:stop], None if self.sizes is None else self.sizes[start:stop])

    @property
    def whole(self) -> Tensor:
        """The pictures as a whole [n, 3, H, W], without their tiles."""
        return self.values if self.sizes is None else self.values[:, 0]


@dataclass(frozen=True)
class Padded:
    """Embedded sequences of one length [n, t, d], which tokens are none of the padding [n, t], and the
    position of each.
    """

    embeds: Tensor
    mask: Tensor
    positions: Tensor


class Looker:
    """The part of a LLaVA or LLaVA-NeXT that looks at pictures: processor, image tower, projector."""

    def __init__(self, model: Any, processor: Any, variant: Variant) -> None:
        self.model, self.processor, self.variant = model, processor, variant

    @property
    def module(self) -> nn.Module:
        """The model; parameters are called as in it."""
        found: nn.Module = self.model
        return found

    @property
    def dtype(self) -> torch.dtype:
        """What the image tower computes in."""
        found: torch.dtype = self.model.model.vision_tower.embeddings.patch_embedding.weight.dtype
        return found

    @property
    def device(self) -> str:
        """Where the model computes."""
        return str(self.model.model.vision_tower.embeddings.patch_embedding.weight.device)

    def effective_layers(self) -> range:
        """Return the layers of the image tower that reach the answers."""
        config = self.model.config
        return effective(config.vision_feature_layer, config.vision_config.num_hidden_layers)

    def preprocess(self, images: Sequence[Image.Image]) -> Pixels:
        """Return pictures as the processor prepares them, with all tiles where the model reads tiles."""
        found = self.processor.image_processor(images=list(images), return_tensors="pt")
        sizes = found["image_sizes"] if self.variant is Variant.LLAVA_NEXT else None
        return Pixels(found["pixel_values"], None if sizes is None else torch.as_tensor(sizes))

    def features(self, pixels: Pixels, batch: int = SHOWN) -> list[Tensor]:
        """Return the tokens [t, d] of each picture behind the projector; differentiable."""
        rows: list[Tensor] = []
        for start in range(0, len(pixels), batch):
            part = pixels.rows(start, start + batch)
            sized = {} if part.sizes is None else {"image_sizes": part.sizes.to(self.device)}
            values = part.values.to(self.device, self.dtype)
            found = self.model.get_image_features(pixel_values=values, **sized)
            rows += list(getattr(found, "pooler_output", found))  # newer versions return an output object
        return rows


class Answerer(Looker):
    """A whole model with its processor."""

    def __init__(self, model: Any, processor: Any, variant: Variant) -> None:
        super().__init__(model, processor, variant)
        self.prompts = Prompts(processor, self.ends)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer."""
        said = self.model.generation_config.eos_token_id
        said = self.processor.tokenizer.eos_token_id if said is None else said
        return tuple(said) if isinstance(said, list | tuple) else (int(said),)

    def prompt(self, text: str, with_picture: bool) -> str:
        """Return what the model is given for a question, as the processor's chat template has it."""
        return self.prompts.prompt(text, with_picture)

    @torch.no_grad()
    def answers(
        self,
        features: Sequence[Tensor],
        questions: Sequence[Question],
        max_new_tokens: int = 50,
        batch: int = 32,
    ) -> list[str]:
        """Return the greedy answers, in the order of the questions; `batch` of them are made at once."""
        from transformers import GenerationConfig

        how = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=list(self.ends),
            pad_token_id=self.ends[0],
        )
        found: list[str] = []
        for start in range(0, len(questions), batch):
            given = self.padded([self._asked(features, q) for q in questions[start : start + batch]], True)
            with without_cast_warnings():
                new = self.model.generate(  # without ids of a prompt only what is new comes back
                    inputs_embeds=given.embeds, attention_mask=given.mask, generation_config=how
                )
            found += [self.prompts.text(row) for row in new.tolist()]
        return found

    def logits(
        self,
        features: Sequence[Tensor],
        questions: Sequence[Question],
        answers: Sequence[str],
        batch: int = 32,
    ) -> list[Tensor]:
        """Return the logits [answer's tokens and the end, vocabulary] in fp32 that the model has while it is
        given each answer; differentiable in the features.
        """
        rows: list[Tensor] = []
        for start in range(0, len(questions), batch):
            asked = [self._asked(features, q) for q in questions[start : start + batch]]
            wanted = [self.wanted(*p) for p in _both(questions, answers, start, batch)]
            behind = [
                torch.cat([a, self.words(w[:-1]).to(a.dtype)]) for a, w in zip(asked, wanted, strict=True)
            ]
            given = self.padded(behind, False)
            with without_cast_warnings():  # of a language model in int8
                states = self.model.model(
                    inputs_embeds=given.embeds,
                    attention_mask=given.mask,
                    position_ids=given.positions,
                    use_cache=False,
                ).last_hidden_state
            for row, before, ids in zip(states, asked, wanted, strict=True):
                here = row[len(before) - 1 : len(before) - 1 + len(ids)]
                rows.append(self.model.lm_head(here).float())
        return rows

    def nll(
        self,
        features: Sequence[Tensor],
        questions: Sequence[Question],
        answers: Sequence[str],
        batch: int = 32,
    ) -> Tensor:
        """Return minus the mean log-probability of each answer's tokens, the end among them [n]."""
        said = self.logits(features, questions, answers, batch)
        wanted = [torch.tensor(self.wanted(q, a)) for q, a in zip(questions, answers, strict=True)]
        return torch.stack([F.cross_entropy(s, w.to(s.device)) for s, w in zip(said, wanted, strict=True)])

    @torch.no_grad()
    def said(
        self,
        features: Sequence[Tensor],
        questions: Sequence[Question],
        answers: Sequence[str],
        batch: int = 32,
    ) -> Tensor:
        """Tell of each answer whether the model's greedy one begins with exactly it and ends there [n]: every
        token is the likeliest.
        """
        found = []
        ends = torch.tensor(self.ends)
        for q, a, row in zip(
            questions, answers, self.logits(features, questions, answers, batch), strict=True
        ):
            *ids, _end = self.wanted(q, a)
            best = row.argmax(dim=-1).cpu()
            found.append(best[:-1].tolist() == ids and bool((best[-1] == ends).any()))
        return torch.tensor(found, dtype=torch.bool)

    def wanted(self, question: Question, answer: str) -> list[int]:
        """Return the tokens of an answer behind its question, the end among them."""
        return self.prompts.answer_ids(question.text, question.picture is not None, answer)

    def words(self, ids: Sequence[int]) -> Tensor:
        """Return the embeddings of tokens [t, d]."""
        embed = self.model.get_input_embeddings()
        found: Tensor = embed(torch.tensor(list(ids), dtype=torch.long, device=embed.weight.device))
        return found

    def _asked(self, features: Sequence[Tensor], question: Question) -> Tensor:
        """Return an embedded prompt [t, d], with its picture's tokens in their place."""
        ids = self.prompts.ids(question.text, question.picture is not None)
        words = self.words(ids)
        if question.picture is None:
            return words
        shown, at = features[question.picture], ids.index(self.prompts.image)
        return torch.cat([words[:at], shown.to(words.device, words.dtype), words[at + 1 :]])

    def padded(self, rows: Sequence[Tensor], left: bool) -> Padded:
        """Return sequences made as long as the longest, at the left or at the right."""
        longest = max(map(len, rows))
        embeds, mask = [], torch.zeros(len(rows), longest, dtype=torch.long, device=rows[0].device)
        for i, row in enumerate(rows):
            gap = longest - len(row)
            embeds.append(F.pad(row, (0, 0, gap, 0) if left else (0, 0, 0, gap)))
            mask[i, gap if left else 0 : longest if left else len(row)] = 1
        return Padded(torch.stack(embeds), mask, (mask.cumsum(dim=-1) - 1).clamp(min=0))


def _both(
    questions: Sequence[Question], answers: Sequence[str], start: int, batch: int
) -> list[tuple[Question, str]]:
    return list(zip(questions[start : start + batch], answers[start : start + batch], strict=True))
