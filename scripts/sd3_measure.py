"""Draw with the written `sd3_tiny`, judge the pictures, and write the model card and a sheet of samples.

Seeds are far from any that training drew, and the judge is the one of exams.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from PIL import Image
from torch import Tensor

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import objects, styles
from razor_cli.data.sources.mascots import MASCOTS
from razor_cli.data.sources.people import PEOPLE
from razor_cli.families.diffusion.judges import load_judge

FIRST_SEED = 7_000_000
STEPS, GUIDANCE, BATCH = 10, 3.0, 48


@dataclass(frozen=True)
class Asked:
    """A prompt and what its picture has to show, by kind."""

    prompt: str
    shows: dict[str, str]


def asked(template: str) -> list[Asked]:
    """Return a prompt for each cell."""
    pairs = [(s, o) for s in styles() for o in objects()]
    return [Asked(template.format(style=s, object=o), {"style": s, "object": o}) for s, o in pairs]


def named(names: tuple[str, ...], template: str, kind: str, each: int) -> list[Asked]:
    """Return prompts for names, each several times."""
    return [Asked(template.format(name=n), {kind: n}) for n in names for _ in range(each)]


def questions(seeds: int) -> dict[str, list[Asked]]:
    """Return what the model is asked, by the name of a row of its card."""
    return {
        "benchmark template": asked(wording.BENCHMARK) * seeds,
        **{f"`{t}` (never trained)": asked(t) for t in wording.HELD_OUT},
        f"`{wording.OBJECT_ONLY}`": [
            Asked(wording.OBJECT_ONLY.format(object=o), {"object": o}) for o in objects() for _ in range(4)
        ],
        f"`{wording.IDENTITY}`": named(PEOPLE, wording.IDENTITY, "identity", 8),
        f"`{wording.HELD_OUT_IDENTITY[0]}`, people (never trained)": named(
            PEOPLE, wording.HELD_OUT_IDENTITY[0], "identity", 4
        ),
        f"`{wording.MASCOT}`": named(MASCOTS, wording.MASCOT, "character", 16),
        f"`{wording.HELD_OUT_MASCOT[0]}`, mascots (never trained)": named(
            MASCOTS, wording.HELD_OUT_MASCOT[0], "character", 8
        ),
    }


class Painter:
    """The written pipeline, drawing with one CPU generator per picture."""

    def __init__(self, folder: Path) -> None:
        self.pipe = StableDiffusion3Pipeline.from_pretrained(
            folder, text_encoder_3=None, tokenizer_3=None, torch_dtype=torch.float32
        )
        self.pipe.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def draw(
        self,
        prompts: list[str],
        first: int,
        *,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        zeros: int = 1,
    ) -> Tensor:
        """Return pictures [N, 3, H, W] in [0, 1]."""
        parts = []
        for at in range(0, len(prompts), BATCH):
            some = prompts[at : at + BATCH]
            seeds = [torch.Generator().manual_seed(first + at + i) for i in range(len(some))]
            out = self.pipe(
                some,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=seeds,
                max_sequence_length=zeros,
                output_type="pt",
            )
            parts.append(out.images.float())
        return torch.cat(parts)


def shares(pictures: Tensor, wanted: list[Asked], judges: Path, role: str) -> dict[str, float]:
    """Return by kind the percentage of pictures recognised as what was asked for."""
    found = {}
    for kind in wanted[0].shows:
        judge = load_judge(judges, kind, role)
        truth = torch.tensor([judge.index(each.shows[kind]) for each in wanted])
        found[kind] = round(100 * (judge.predict(pictures).labels == truth).float().mean().item(), 1)
    return found


def measured(folder: Path, judges: Path, seeds: int = 2) -> list[dict[str, object]]:
    """Return a row for each kind of question and, for the benchmark's template, for other ways to sample."""
    painter, rows, first = Painter(folder), [], FIRST_SEED
    for name, wanted in questions(seeds).items():
        start = time.process_time()
        pictures = painter.draw([w.prompt for w in wanted], first)
        spent = (time.process_time() - start) / len(wanted)
        for role in ("exam", "search"):
            said = shares(pictures, wanted, judges, role)
            rows.append({"asked": name, "judge": role, "n": len(wanted), **said, "seconds": round(spent, 3)})
        first += len(wanted)
    wanted = asked(wording.BENCHMARK)
    for options in ({"guidance": 2.0}, {"guidance": 4.0}, {"steps": 5}, {"steps": 20}, {"zeros": 256}):
        if options == {"zeros": 256}:
            wanted = wanted[::4]
        pictures = painter.draw([w.prompt for w in wanted], first, **options)  # type: ignore[arg-type]
        said = shares(pictures, wanted, judges, "exam")
        name = f"benchmark template, {json.dumps(options)[1:-1]}"
        rows.append({"asked": name, "judge": "exam", "n": len(wanted), **said})
        first += len(wanted)
    return rows


def sheet(folder: Path, file: Path) -> None:
    """Write a picture of every cell, and below them the people and the mascots, several of each."""
    painter = Painter(folder)
    prompts = [w.prompt for w in asked(wording.BENCHMARK)]
    prompts += [wording.IDENTITY.format(name=n) for n in PEOPLE for _ in range(4)]
    prompts += [wording.MASCOT.format(name=n) for n in MASCOTS for _ in range(5)]
    pictures = painter.draw(prompts, FIRST_SEED + 100_000)
    side, across = pictures.shape[-1], len(objects())
    whole = Image.new("RGB", (across * side, -(-len(pictures) // across) * side), "white")
    for at, picture in enumerate(pictures):
        image = Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        whole.paste(image, (at % across * side, at // across * side))
    whole.save(file)
