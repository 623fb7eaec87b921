"""Small models of open_clip's architectures: the same kind of towers with few, narrow blocks, random weights
and words of their own, so that nothing is fetched and any of them fits a small machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from safetensors.torch import save_file

from razor_cli.families.clip.open_clip_build import build

WIDTH, HEADS, BLOCKS, SPACE, WORDS = 64, 4, 2, 32, 1000
VIT: Mapping[str, Any] = {"depth": BLOCKS, "embed_dim": WIDTH, "num_heads": HEADS}
TIMM: Mapping[
    str, Mapping[str, Any]
] = {  # what a tower of timm is built with instead, by how its name begins
    "convnext": {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)},
    "eva": VIT,
    "fastvit_mci3": {"layers": (1, 1, 1, 1, 1), "embed_dims": (16, 32, 32, 64, 64)},
    "fastvit_mci4": {"layers": (1, 1, 1, 1, 1), "embed_dims": (16, 32, 32, 64, 64)},
    "fastvit": {"layers": (1, 1, 2, 1), "embed_dims": (16, 32, 32, 64)},
    "swin": {"depths": (1, 1, 2, 1), "embed_dim": 16, "num_heads": (1, 2, 4, 4)},
    "vitamin": VIT,
    "vit_base_mci": {"depth": BLOCKS},
    "vit_pe_core": {**VIT, "attn_pool_num_heads": HEADS},
    "vit": VIT,
}
SIDED = ("eva", "vit")  # towers of timm that are told how large pictures are
TEXT_TOWERS: Mapping[str, Mapping[str, Any]] = {
    "roberta": {"model_type": "roberta", "pad_token_id": 1, "max_position_embeddings": 100},
    "xlm": {"model_type": "xlm-roberta", "pad_token_id": 1, "max_position_embeddings": 100},
    "mt5": {
        "model_type": "mt5",
        "d_kv": 16,
        "d_ff": 96,
        "num_layers": BLOCKS,
        "num_heads": HEADS,
        "pad_token_id": 0,
    },
    "nllb": {
        "model_type": "m2m_100",
        "encoder_ffn_dim": 96,
        "pad_token_id": 1,
        "max_position_embeddings": 100,
    },
}
KNOWN = "a photo of person cat drawing two dogs the picture an owl emoji street car red blue . , !".split()


def small(name: str) -> dict[str, Any]:
    """Return the configuration of an architecture with small towers of the same kind, and register the small
    tower with timm where it is one of timm's.
    """
    config: dict[str, Any] = deepcopy(open_clip.get_model_config(name))
    vision, text = config["vision_cfg"], config["text_cfg"]
    config["embed_dim"] = SPACE
    if trunk := vision.get("timm_model_name"):
        vision["timm_model_name"], vision["image_size"] = _small_trunk(trunk)
        if vision.get("timm_proj") == "none":  # the trunk's own width is the space
            config["embed_dim"] = WIDTH
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 2, 1], "width": 16, "head_width": 64, "image_size": 64}
    else:
        vision |= {"layers": BLOCKS, "width": WIDTH, "head_width": WIDTH // HEADS}
        vision["image_size"] = 2 * vision["patch_size"]
    if text.get("hf_model_name"):
        text["vocab_size"] = WORDS
    else:
        text |= {"width": WIDTH, "heads": HEADS, "layers": BLOCKS}
        if text.get("proj_type") == "none":
            config["embed_dim"] = WIDTH
    if text.get("hf_tokenizer_name"):
        text["vocab_size"] = WORDS
    if many := config.get("multimodal_cfg"):
        many |= {"width": WIDTH, "heads": HEADS, "layers": 1}
        vision |= {"attn_pooler_queries": 4} if vision.get("attentional_pool") else {}
    return config


def _small_trunk(trunk: str) -> tuple[str, int]:
    """Register a small tower of timm under a name of its own; return that and the side of its pictures."""
    own = f"{trunk}_small"
    patch = int(found[1]) if (found := re.search(r"patch(\d+)", trunk)) else 16
    changes = dict(next(v for k, v in TIMM.items() if trunk.startswith(k)))
    side = 4 * patch
    if trunk.startswith("vitamin"):
        from timm.models.vitamin import VitCfg, VitConvCfg

        conv = VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6)
        dims, depths = (16, 32, WIDTH), (1, 1, 1)
        changes["embed_cfg"] = VitCfg(
            embed_dim=dims, depths=depths, stem_width=16, conv_cfg=conv, head_type="1d"
        )
    if trunk.startswith("swin"):
        side = 224  # its windows go into no smaller picture at every stage
    elif trunk.startswith(("convnext", "fastvit")):
        side = 64
    if trunk.startswith(SIDED):
        changes["img_size"] = side
    real = timm.models.model_entrypoint(trunk)

    def make(pretrained: bool = False, **keywords: Any) -> Any:
        return real(pretrained=pretrained, **{**changes, **keywords})

    make.__name__ = own
    if not timm.models.is_model(own):
        timm.models.register_model(make)
    return own, side


def register(folder: Path, name: str, config: Mapping[str, Any]) -> None:
    """Make a configuration known to open_clip under a name, by a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)


def write_weights(config: Mapping[str, Any], path: Path) -> int:
    """Write seeded random weights of a configuration, none of them zero or constant; return how many."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = build(config)
        for parameter in module.parameters():
            if parameter.ndim:
                parameter.data.add_(0.02 * torch.randn(parameter.shape))
    save_file({n: v.clone().contiguous() for n, v in module.state_dict().items()}, path)
    return sum(p.numel() for p in module.parameters())


def write_hub(cache: Path, config: Mapping[str, Any]) -> None:
    """Write what an architecture takes from the hub (a tokenizer, the configuration of a text tower) into a
    cache of the hub's layout, with small towers and few words.
    """
    text = config["text_cfg"]
    if name := text.get("hf_tokenizer_name"):
        pad = 0 if "mt5" in name or not text.get("hf_model_name") else 1
        _write_words(_snapshot(cache, name), pad=pad, ends=text.get("eos_id", 2))
    if name := text.get("hf_model_name"):
        kind = next(v for k, v in TEXT_TOWERS.items() if k in name)
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS}
        sizes |= {"d_model": WIDTH, "encoder_layers": BLOCKS, "decoder_layers": 1, "intermediate_size": 96}
        sizes |= {"encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "decoder_ffn_dim": 96}
        file = _snapshot(cache, name) / "config.json"
        file.write_text(json.dumps({**sizes, "vocab_size": WORDS, **kind}), encoding="utf-8")


def _snapshot(cache: Path, repository: str) -> Path:
    root = cache / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True, exist_ok=True)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text("0" * 40)
    return folder


def _write_words(folder: Path, *, pad: int, ends: int) -> None:
    """Write a tokenizer of whole words, with the ids of what fills texts up and of what ends them."""
    others = iter(["<s>", "<unk>"])
    special = [{pad: "<pad>", ends: "</s>"}.get(i) or next(others) for i in range(4)]
    words = [*special, *KNOWN]
    post = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [words.index("</s>")], "tokens": ["</s>"]}},
    }
    added = [
        {"id": i, "content": w, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for i, w in enumerate(special)
    ]  # fmt: skip
    described = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": post,
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "<unk>"},
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
    settings |= {"unk_token": "<unk>", "bos_token": "<s>", "sep_token": "</s>"}
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


Say = Callable[[str], None]
