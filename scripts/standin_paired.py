"""`clip_tiny` as a CLIP of transformers with a few more words: what the towers of `llava_tiny` begin as."""

from __future__ import annotations

from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file
from standin_text import BEGIN, END, POSITIONS, learn_merges
from standin_text import write_words as write_files
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import styles
from razor_cli.families.clip.standins import stand_in_folder


def added_words() -> list[str]:
    """Return the words of the captions of styles."""
    texts = [t.format(style=s).lower() for t in wording.TRAINED_STYLE for s in styles()]
    return sorted({w for text in texts for w in text.replace(".", "").split()})


def write_words(folder: Path) -> tuple[CLIPTokenizer, dict[str, int]]:
    """Write the tokenizer's files in the layout that every version of transformers reads; return it, and the
    vocabulary of `clip_tiny`.
    """
    old = SimpleTokenizer(bpe_path=str(stand_in_folder("clip_tiny") / "bpe.txt.gz"), context_length=POSITIONS)
    ranked = sorted(old.bpe_ranks, key=old.bpe_ranks.__getitem__)
    more = learn_merges([[old.decoder[i] for i in old.encode(w)] for w in added_words()])
    tokens = [t for t in old.encoder if t not in ("<start_of_text>", "<end_of_text>")]
    tokens += ["".join(m) for m in more] + [BEGIN, END]
    tokenizer = write_files(folder, tokens, [*ranked, *more])
    mine = {"<start_of_text>": BEGIN, "<end_of_text>": END}
    return tokenizer, {mine.get(t, t): i for t, i in old.encoder.items()}


def paired_config(tokens: int) -> CLIPConfig:
    """Return the configuration of the towers: those of `clip_tiny`."""
    shared = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 4, "hidden_act": "gelu"}
    text = {
        **shared,
        "vocab_size": tokens,
        "num_hidden_layers": 4,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": tokens - 2,
        "eos_token_id": tokens - 1,
        "pad_token_id": tokens - 1,
        "projection_dim": 128,
    }
    vision = {**shared, "num_hidden_layers": 6, "image_size": 48, "patch_size": 8, "projection_dim": 128}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=128)


def make_paired(folder: Path) -> tuple[CLIPModel, CLIPTokenizer]:
    """Return `clip_tiny` in the layout of transformers; words that it does not have begin as their end."""
    tokenizer, old = write_words(folder)
    new: dict[str, int] = tokenizer.get_vocab()
    clip = CLIPModel(paired_config(len(new)))
    opened = load_file(stand_in_folder("clip_tiny") / "clip_tiny.safetensors")
    weights = translated({n: w.float() for n, w in opened.items()})
    words = weights["text_model.embeddings.token_embedding.weight"]
    rows = words.new_zeros(len(new), words.shape[1])
    rows[[new[t] for t in old]] = words[list(old.values())]
    weights["text_model.embeddings.token_embedding.weight"] = rows
    spelled = {n.replace("vision_model.", _trunk(clip, "vision_model")): w for n, w in weights.items()}
    spelled = {n.replace("text_model.", _trunk(clip, "text_model")): w for n, w in spelled.items()}
    found = clip.load_state_dict(spelled, strict=False)
    assert not found.unexpected_keys and not [n for n in found.missing_keys if "position_ids" not in n]
    return clip, tokenizer


def _trunk(clip: CLIPModel, part: str) -> str:
    """Return what precedes `embeddings` in this version of the library."""
    first = next(n for n in clip.state_dict() if n.startswith(part))
    return first[: first.index("embeddings")]


def translated(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state of open_clip under the names, and in the shapes, of transformers."""
    made = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T.contiguous(),
        "text_projection.weight": state["text_projection"].T.contiguous(),
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    blocks = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
        "attn.out_proj": "self_attn.out_proj",
    }
    for name, weight in state.items():
        part, _, kind = name.rpartition(".")
        if part in norms:
            made[f"{norms[part]}.{kind}"] = weight
        if "resblocks." not in name:
            continue
        tower = "vision_model" if name.startswith("visual.") else "text_model"
        number, _, rest = name.partition("resblocks.")[2].partition(".")
        layer = f"{tower}.encoder.layers.{number}"
        if rest.startswith("attn.in_proj_"):
            for letter, piece in zip("qkv", weight.chunk(3), strict=True):
                made[f"{layer}.self_attn.{letter}_proj.{rest[len('attn.in_proj_') :]}"] = piece.contiguous()
        else:
            inner, _, kind = rest.rpartition(".")
            made[f"{layer}.{blocks[inner]}.{kind}"] = weight
    return made
