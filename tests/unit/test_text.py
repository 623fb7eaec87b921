"""Texts without padding: the embeddings and gradients are the library's own on padded texts, for fewer
operations.
"""

from __future__ import annotations

import open_clip
import pytest
import torch

from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.load import load
from razor_cli.families.clip.text import can_trim, trimming

TEXTS = ["a photo of a dog.", "a photo of Robert Downey Jr.", "dog"]
CONTEXT = 16


@pytest.fixture(scope="module")
def model() -> Clip:
    found = load(name="clip_tiny", library="stand_in", architecture=None, weights=None, device="cpu")
    assert isinstance(found, Clip)
    return found


def padded(model: Clip, texts: list[str]) -> torch.Tensor:
    """Return the texts' tokens as the library pads them."""
    tokens = model.tokenize(texts)
    return torch.nn.functional.pad(tokens, (0, CONTEXT - tokens.shape[1]))


def test_texts_are_cut_behind_the_last_end_token(model: Clip) -> None:
    tokens, alone = model.tokenize(TEXTS), model.tokenize(TEXTS[2:])
    assert alone.shape[1] < tokens.shape[1] < CONTEXT
    assert (tokens.argmax(-1).max() == tokens.shape[1] - 1) and (tokens[:, 0] == tokens[0, 0]).all()
    assert model.tokenize(["word " * 40]).shape[1] == CONTEXT and model.tokenize([]).shape == (0, CONTEXT)


def test_embeddings_and_gradients_are_those_of_padded_texts(model: Clip) -> None:
    weights = dict(model.module.named_parameters())
    names = [
        "positional_embedding",
        "token_embedding.weight",
        "transformer.resblocks.0.attn.in_proj_weight",
        "text_projection",
    ]
    found = []
    for encode, tokens in (
        (model.text_features, model.tokenize(TEXTS)),
        (model.module.encode_text, padded(model, TEXTS)),
    ):
        out = encode(tokens)
        goal = (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum()
        found.append([out.detach(), *torch.autograd.grad(goal, [weights[n] for n in names])])
    for cut, whole in zip(*found, strict=True):
        assert (
            torch.allclose(cut, whole, atol=2e-5 * float(whole.abs().max())) and float(whole.abs().max()) > 0
        )


def test_blocks_can_be_resumed_on_cut_texts(model: Clip) -> None:
    tokens = model.tokenize(TEXTS)
    with torch.no_grad():
        saved = run_prefix(model, Tower.TEXT, tokens, 2)
        assert saved.shape[1] == tokens.shape[1]
        assert torch.allclose(
            run_suffix(model, Tower.TEXT, tokens, 2, saved),
            model.encode_text(padded(model, TEXTS)),
            atol=1e-5,
        )


@pytest.mark.parametrize(
    ("text", "trims"),
    [({}, True), ({"pool_type": "last"}, False), ({"no_causal_mask": True}, False)],
    ids=["clip", "last", "see"],
)
def test_only_a_causal_tower_that_reads_the_end_token_is_given_cut_texts(
    text: dict[str, object], trims: bool
) -> None:
    vision = {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    config = {"context_length": 8, "vocab_size": 60, "width": 16, "heads": 2, "layers": 1} | text
    assert can_trim(open_clip.model.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=config)) is trims


def test_a_tokenizer_that_pads_is_cut_at_the_highest_token() -> None:
    cut = trimming(lambda texts: torch.tensor([[9, 3, 10, 0, 0], [9, 10, 0, 0, 0]])[: len(texts)])
    assert cut(["a", "b"]).tolist() == [[9, 3, 10], [9, 10, 0]]
