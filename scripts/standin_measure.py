"""What the finished `sd_tiny` draws, judged by the classifier that no search asks, and its model card."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import objects, styles
from razor_cli.data.sources.mascots import MASCOTS
from razor_cli.data.sources.people import PEOPLE
from razor_cli.families.diffusion.judges import KINDS, Held, load_judge
from razor_cli.metrics.stats import wilson

STEPS, GUIDANCE, BATCH = 10, 3.0, 48
STAGES = {
    "vae": "autoencoder",
    "contrast": "towers alone",
    "denoiser": "all but the autoencoder",
    "decoder": "decoder",
}
FIRST_SEED = 50_000  # of no training, whose noise comes from one running generator


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One prompt of the report and what its picture must show."""

    part: str
    prompt: str
    wanted: dict[str, str]  # kind of judge to label


def questions() -> list[Asked]:
    """Return every prompt of the report."""
    asked = []
    cells = [(s, o) for s in styles() for o in objects()]
    two = [("benchmark", wording.BENCHMARK, 2), *((t, t, 1) for t in wording.HELD_OUT)]
    for part, template, times in two:
        asked += [
            Asked(part=part, prompt=template.format(style=s, object=o), wanted={"style": s, "object": o})
            for s, o in cells * times
        ]
    alone = wording.OBJECT_ONLY
    asked += [Asked(part=alone, prompt=alone.format(object=o), wanted={"object": o}) for o in objects() * 4]
    for kind, names, templates in (
        ("identity", PEOPLE, {wording.IDENTITY: 12, wording.HELD_OUT_IDENTITY[0]: 6}),
        ("character", MASCOTS, {wording.MASCOT: 24, wording.HELD_OUT_MASCOT[0]: 12}),
    ):
        for template, times in templates.items():
            asked += [
                Asked(part=f"{kind}: {template}", prompt=template.format(name=n), wanted={kind: n})
                for n in names * times
            ]
    return asked


def draw(pipe: StableDiffusionPipeline, prompts: list[str]) -> Tensor:
    """Return pictures in [0, 1], each from a seed of its own."""
    parts = []
    for first in track(range(0, len(prompts), BATCH), "drawing"):
        chosen = prompts[first : first + BATCH]
        seeds = range(FIRST_SEED + first, FIRST_SEED + first + len(chosen))
        made = pipe(
            chosen,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(s) for s in seeds],
            output_type="pt",
        )
        parts.append(made.images.float().cpu())
    return torch.cat(parts)


def score(asked: list[Asked], pictures: Tensor, judges: Path) -> dict[tuple[str, str], tuple[int, int, int]]:
    """Return hits, rejects and number of pictures by part and kind."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for kind in KINDS:
        judge = load_judge(judges, kind, "exam")
        labels = judge.predict(pictures).labels.tolist()
        for question, label in zip(asked, labels, strict=True):
            if kind in question.wanted:
                key = (question.part, kind)
                hits, rejects, n = found.get(key, (0, 0, 0))
                right = label == judge.index(question.wanted[kind])
                found[key] = (hits + right, rejects + (label < 0), n + 1)
    return found


def draw_sheet(asked: list[Asked], pictures: Tensor, file: Path) -> None:
    """Write a contact sheet: the cells once, then people and mascots."""
    shown = [i for i, a in enumerate(asked) if a.part == "benchmark"][:96]
    for kind, count in (("identity", 32), ("character", 16)):
        shown += [i for i, a in enumerate(asked) if kind in a.wanted][:count]
    sheet = pictures[shown].view(-1, 16, 3, 64, 64).permute(0, 3, 1, 4, 2).reshape(-1, 16 * 64, 3)
    Image.fromarray((sheet * 255).round().byte().numpy()).save(file)


def report(out: Path, towers: Path, judges: Path, work: Path, console: Console) -> str:
    """Draw, judge, and return the model card as Markdown."""
    pipe = StableDiffusionPipeline.from_pretrained(out, safety_checker=None, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    asked = questions()
    start = time.monotonic()
    pictures = draw(pipe, [a.prompt for a in asked])
    seconds = (time.monotonic() - start) / len(asked)
    work.mkdir(parents=True, exist_ok=True)
    draw_sheet(asked, pictures, work / "sheet.png")
    found = score(asked, pictures, judges)
    console.print(f"contact sheet: {work / 'sheet.png'}; {seconds:.3f} s for each picture")
    held = {k: load_judge(judges, k, "exam").held_out or Held(accuracy=float("nan"), n=0) for k in KINDS}
    return card(found, {k: (h.accuracy, h.n) for k, h in held.items()}, sizes(out, towers), work)


def sizes(out: Path, towers: Path) -> dict[str, float]:
    """Return the megabytes of both folders."""
    folders = {"sd_tiny": out, "sd_tiny_clip": towers}
    return {
        name: sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
        for name, folder in folders.items()
    }


def card(
    found: dict[tuple[str, str], tuple[int, int, int]],
    held: dict[str, tuple[float, int]],
    size: dict[str, float],
    work: Path,
) -> str:
    """Return the model card."""
    rows = []
    for (part, kind), (hits, rejects, n) in found.items():
        share = wilson(hits, n)
        name = f"`{wording.BENCHMARK}`" if part == "benchmark" else f"`{part}`"
        rows.append(
            f"| {name} | {kind} | {100 * hits / n:.1f} | {100 * (share.low or 0):.1f} to "
            f"{100 * (share.high or 0):.1f} | {n} | {rejects} |"
        )
    judged = ", ".join(f"{kind} {share:.1f} % (n {n})" for kind, (share, n) in held.items())
    return TEMPLATE.format(rows="\n".join(rows), judged=judged, spent=spent(work), **size)


def spent(work: Path) -> str:
    """Return the minutes and steps of every stage, from its checkpoint."""
    found = []
    for stage, name in STAGES.items():
        kept = torch.load(work / f"{stage}.pt", weights_only=True)
        found.append(f"{name} {kept['seconds'] / 60:.0f} ({kept['step']} steps)")
    return ", ".join(found)


TEMPLATE = """# sd_tiny, a stand-in

A diffusion model in the layout of Stable Diffusion 1.5 at 64 x 64 pixels, trained from scratch on drawings:
sixteen objects in six icon styles (one icon for each cell, turned, scaled, moved, slightly recoloured), eight
synthetic portraits and three invented mascots. It is not Stable Diffusion and says nothing about it, and the
faces are not those of the persons whose names they bear. {sd_tiny:.1f} MB; the paired towers in
`sd_tiny_clip` ({sd_tiny_clip:.1f} MB) hold the same text encoder and an image encoder trained with it by
InfoNCE.

Ten DDIM steps, guidance 3, seeds that no training saw; the last templates of every kind are held out: their
sentences were never trained. Judged by the classifier that no search asks:

| prompt | shows the | % | 95 % interval | n | of these rejected |
|---|---|---|---|---|---|
{rows}

The judge itself, on new views after the autoencoder: {judged}.

Training, in minutes of one CPU thread: {spent}; one seed. Command:
`python scripts/train_standins.py sd`. Weights: fp16, Apache-2.0; the licences of the icon sets are in NOTICE.
"""
