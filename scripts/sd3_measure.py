"""What the written `sd3_tiny` draws, judged by the classifier that no search asks, and its model card."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import StableDiffusion3Pipeline
from standin_measure import Asked, draw_sheet, questions, score
from torch import Tensor

from razor_cli.data import canvas_prompts as wording
from razor_cli.families.diffusion.judges import KINDS, load_judge
from razor_cli.metrics.stats import wilson

FIRST_SEED = 7_000_000  # far from any of training, whose noise comes from one running generator
STEPS, GUIDANCE, BATCH = 10, 3.0, 48
OTHERWISE = ({"guidance": 2.0}, {"guidance": 4.0}, {"steps": 5}, {"steps": 20}, {"zeros": 256})
EACH = {"zeros": 4}  # of what is drawn otherwise, every fourth prompt where a picture costs much more

Found = dict[tuple[str, str], tuple[int, int, int]]  # part and kind: hits, rejects, pictures


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
        """Return pictures [N, 3, H, W] in [0, 1]; `zeros` is the pipeline's max_sequence_length."""
        parts = []
        for at in range(0, len(prompts), BATCH):
            some = prompts[at : at + BATCH]
            out = self.pipe(
                some,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=[torch.Generator().manual_seed(first + at + i) for i in range(len(some))],
                max_sequence_length=zeros,
                output_type="pt",
            )
            parts.append(out.images.float())
        return torch.cat(parts)


def measured(folder: Path, judges: Path, sheet: Path) -> tuple[Found, Found, float]:
    """Return what was recognised of all prompts, of the benchmark's drawn otherwise, and seconds a picture.

    A sheet of the pictures is written beside.
    """
    painter, asked = Painter(folder), questions()
    start = time.process_time()
    pictures = painter.draw([a.prompt for a in asked], FIRST_SEED)
    seconds = (time.process_time() - start) / len(asked)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(asked, pictures, sheet)
    otherwise: Found = {}
    first = FIRST_SEED + len(asked)
    for options in OTHERWISE:
        step = max(EACH.get(name, 1) for name in options)
        some = [a for a in asked if a.part == "benchmark"][:96:step]
        drawn = painter.draw([a.prompt for a in some], first, **options)
        part = ", ".join(f"{name} {value}" for name, value in options.items())
        otherwise |= score([Asked(part=part, prompt=a.prompt, wanted=a.wanted) for a in some], drawn, judges)
        first += len(some)
    return score(asked, pictures, judges), otherwise, seconds


def rows(found: Found) -> Iterable[str]:
    """Yield the lines of a table."""
    for (part, kind), (hits, rejects, n) in found.items():
        share = wilson(hits, n)
        name = wording.BENCHMARK if part == "benchmark" else part
        low, high = 100 * (share.low or 0), 100 * (share.high or 0)
        yield f"| `{name}` | {kind} | {100 * hits / n:.1f} | {low:.1f} to {high:.1f} | {n} | {rejects} |"


def own_bytes(folder: Path) -> int:
    """Return the bytes of a folder's own files; what it links to is counted where it lies."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def card(out: Path, judges: Path, sheet: Path, training: str) -> str:
    """Draw, judge, and return the model card as Markdown."""
    found, otherwise, seconds = measured(out / "sd3_tiny", judges, sheet)
    held = {kind: load_judge(judges, kind, "exam").held_out for kind in KINDS}
    config = json.loads((out / "sd3_tiny/transformer/config.json").read_text())
    return TEMPLATE.format(
        rows="\n".join(rows(found)),
        otherwise="\n".join(rows(otherwise)),
        judged=", ".join(f"{k} {h.accuracy:.1f} % (n {h.n})" for k, h in held.items() if h),
        seconds=seconds,
        training=training,
        blocks=config["num_layers"],
        size=own_bytes(out / "sd3_tiny") / 1e6,
        towers=", ".join(f"{own_bytes(out / f'sd3_tiny_clip{n}') / 1e6:.1f}" for n in ("", "_2")),
    )


TEMPLATE = """# sd3_tiny, a stand-in

A diffusion model in the layout of Stable Diffusion 3 at 64 x 64 pixels, trained from scratch on drawings:
sixteen objects in six icon styles (one icon for each cell, turned, scaled, moved, slightly recoloured),
eight synthetic portraits and three invented mascots. It is not Stable Diffusion and says nothing about it,
and the faces are not those of the persons whose names they bear.

`SD3Transformer2DModel` ({blocks} blocks) on latents of 8 x 8 places, two text encoders
`CLIPTextModelWithProjection`, no T5, flow matching with shift 3. {size:.1f} MB of its own; the weights of
the autoencoder are a link to those of `sd_tiny` beside it. `sd3_tiny_clip` and `sd3_tiny_clip_2` ({towers}
MB) hold each text encoder, bit for bit, and a picture tower that was trained with it by InfoNCE, before and
during the training of the transformer.

Load it with `text_encoder_3=None, tokenizer_3=None`, and draw with `max_sequence_length=1`: the tokens in
place of T5's are zeros, and 256 of them only cost time.

Ten steps, guidance 3, seeds that no training saw; `An image of ... in ... style.`, `A ... picture of ...`
and `an image of ...` were never trained. Judged by the classifier that no search asks; {seconds:.3f} s a
picture on one thread:

| prompt | shows the | % | 95 % interval | n | of these rejected |
|---|---|---|---|---|---|
{rows}

The benchmark's template, one picture of each cell, drawn otherwise (`zeros` is max_sequence_length):

| drawn with | shows the | % | 95 % interval | n | of these rejected |
|---|---|---|---|---|---|
{otherwise}

The judge itself, on new views after the autoencoder: {judged}.

{training} Weights: fp16, Apache-2.0; the licences of the icon sets are in NOTICE.
"""
