"""Greedy answers to questions, in batches that are padded on the left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from razor_cli.families.llava.chat import prompt

BATCH = 64
LONGEST = 16  # tokens of an answer


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A model that answers, with what prepares its pictures and words."""

    model: Any  # LlavaForConditionalGeneration or LlavaNextForConditionalGeneration
    processor: Any
    batch: int = BATCH

    @torch.no_grad()
    def answers(self, pictures: Sequence[Image.Image] | None, questions: Sequence[str]) -> list[str]:
        """Return the answer to each question, about the picture beside it or, with None, about no picture."""
        found = []
        for first in range(0, len(questions), self.batch):
            part = slice(first, first + self.batch)
            prompts = [prompt(q, picture=pictures is not None) for q in questions[part]]
            shown = {} if pictures is None else {"images": list(pictures[part])}
            given = self.processor(text=prompts, padding=True, return_tensors="pt", **shown)
            made = self.model.generate(**given, do_sample=False, max_new_tokens=LONGEST)
            new = made[:, given["input_ids"].shape[1] :]  # by count: an answer may repeat the prompt
            found += [t.strip() for t in self.processor.batch_decode(new, skip_special_tokens=True)]
        return found


def load_answerer(folder: Any) -> Answerer:
    """Return the model of a folder of transformers, ready to answer; nothing is fetched."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    return Answerer(model=model.eval(), processor=processor)
