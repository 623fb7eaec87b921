"""Random tiny LLaVA and LLaVA-NeXT folders in the layout of transformers, and the CLIP that their image tower
comes from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from tiny_sd import END as CLIP_END
from tiny_sd import LENGTH, START, write_tokenizer
from torch import Tensor

from razor_cli.contract.choices import Device

if TYPE_CHECKING:
    from razor_cli.families.llava.family import Llava

IMAGE, PAD, BEGIN, END = "<image>", "<pad>", "<s>", "</s>"
SIDE, PATCH, WIDTH, LAYERS, PROJECTION = 24, 8, 32, 4, 16  # of the image tower
TOKENS = (SIDE // PATCH) ** 2  # of a picture
TILES = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE]]  # of a LLaVA-NeXT
_EACH = "{%% for part in message['content'] | selectattr('type', 'equalto', '%s') %%}"
TEMPLATE = (  # as LLaVA 1.5 has it
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    + (_EACH % "image" + "{{ '<image>\n' }}{% endfor %}")
    + (_EACH % "text" + "{{ part['text'] + ' ' }}{% endfor %}")
    + "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# What begins a tensor's name in memory, and in the files of three generations of the library.
MEMORY = ("model.vision_tower.", "model.multi_modal_projector.", "model.language_model.", "lm_head.")
_OLD = ("multi_modal_projector.", "language_model.model.", "language_model.lm_head.")
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "old": ("vision_tower.vision_model.", *_OLD),
    "middle": ("model.vision_tower.vision_model.", *MEMORY[1:]),
    "saved": ("vision_tower.", *_OLD),
    "memory": MEMORY,
}
VISION = {
    "hidden_size": WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
    "projection_dim": PROJECTION,
}
PIXELS = {
    "do_resize": True,
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": {"shortest_edge": SIDE},
}


def tiny_llava(
    folder: Path, *, spelling: str = "old", dtype: torch.dtype = torch.float32, deep: bool = False
) -> Path:
    """Write a tiny LLaVA; return its folder. A `deep` one has as many layers as the published ones of 7B."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    ids = write_words(folder, "LlavaProcessor")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = LlavaForConditionalGeneration(LlavaConfig(**_settings(ids, deep)))
    (folder / "preprocessor_config.json").write_text(
        json.dumps(PIXELS | {"image_processor_type": "CLIPImageProcessor"})
    )
    return _written(model, folder, spelling, dtype)


def tiny_llava_next(folder: Path, *, spelling: str = "old", dtype: torch.dtype = torch.float32) -> Path:
    """Write a tiny LLaVA-NeXT that reads two tiles beside the whole; return its folder."""
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    ids = write_words(folder, "LlavaNextProcessor")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        config = LlavaNextConfig(**_settings(ids), image_grid_pinpoints=TILES)
        model = LlavaNextForConditionalGeneration(config)
    pixels = PIXELS | {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": TILES}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels | {"do_pad": True}))
    return _written(model, folder, spelling, dtype)


def tiny_companion(llava: Path, folder: Path, *, tower: bool = True) -> Path:
    """Write the CLIP whose image tower is that of a tiny LLaVA; return its folder. Without `tower` one of
    the same shape at random.
    """
    from transformers import CLIPConfig, CLIPModel

    ids = write_tokenizer(folder)
    text = {
        "vocab_size": len(ids),
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": LENGTH,
        "projection_dim": PROJECTION,
        "bos_token_id": ids[START],
        "eos_token_id": ids[CLIP_END],
        "pad_token_id": ids[CLIP_END],
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        tower_config = json.loads((llava / "config.json").read_text())["vision_config"]
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=tower_config, projection_dim=PROJECTION))
    state = {n: v.contiguous() for n, v in model.state_dict().items() if not n.endswith("position_ids")}
    if tower:
        begins = "vision_model."
        for name, value in in_memory(load_file(llava / "model.safetensors")).items():
            if name.startswith(MEMORY[0]):
                state[begins + name.removeprefix(MEMORY[0])] = value.float()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    pixels = PIXELS | {"image_processor_type": "CLIPImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def opened(folder: Path, **settings: Any) -> Llava:
    """Return the model of a tiny folder, which is written first where it is not there, with its CLIP beside
    it. A folder called `next` gets a LLaVA-NeXT.
    """
    from razor_cli.families.llava.spec import LlavaSpec

    if not folder.exists():
        (tiny_llava_next if folder.name == "next" else tiny_llava)(folder)
        tiny_companion(folder, folder.with_name(f"{folder.name}_clip"))
    device = Device(settings.pop("device", "cpu"))
    return LlavaSpec(name="tiny", weights=str(folder), stand_in=False, device=device, **settings).open()


def in_memory(state: Mapping[str, Tensor], spelling: str = "old") -> dict[str, Tensor]:
    """Return tensors by their names in memory."""
    found = {}
    for name, value in state.items():
        old = next((s for s in SPELLINGS[spelling] if name.startswith(s)), "")
        new = dict(zip(SPELLINGS[spelling], MEMORY, strict=True)).get(old, "model.")  # image_newline
        found[new + name.removeprefix(old)] = value
    return found


def write_words(folder: Path, processor: str) -> dict[str, int]:
    """Write tokenizer, chat template and processor settings: each byte is a token. Return the tokens' ids."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {name: i for i, name in enumerate((PAD, BEGIN, END, IMAGE, *letters))}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=[]))
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in (PAD, BEGIN, END, IMAGE)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, ids[BEGIN])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": BEGIN, "eos_token": END, "pad_token": PAD}
    words = {
        **special,
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": {"image_token": IMAGE},
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    settings = {
        "processor_class": processor,
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_token": IMAGE,
    }
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return ids


def _settings(ids: Mapping[str, int], deep: bool = False) -> dict[str, Any]:
    """Return the configuration of a tiny model."""
    text = {
        "model_type": "llama",
        "vocab_size": len(ids),
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": ids[BEGIN],
        "eos_token_id": ids[END],
        "pad_token_id": ids[PAD],
        "tie_word_embeddings": False,
        **({"num_hidden_layers": 32, "num_attention_heads": 8, "num_key_value_heads": 8} if deep else {}),
    }
    tower = VISION | ({"num_hidden_layers": 24, "num_attention_heads": 16} if deep else {})
    return {
        "vision_config": {"model_type": "clip_vision_model", **tower},
        "text_config": text,
        "image_token_index": ids[IMAGE],
        "image_seq_length": TOKENS,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
    }


def _written(model: Any, folder: Path, spelling: str, dtype: torch.dtype) -> Path:
    """Write configuration and weights, made lively so that pictures and words make a difference."""
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim >= 2:
                value.mul_(5)
    names = dict(zip(MEMORY, SPELLINGS[spelling], strict=True))
    state = {}
    for name, value in model.state_dict().items():
        begins = next((m for m in MEMORY if name.startswith(m)), "model.")
        after = {"memory": "model.", "middle": "model."}.get(spelling, "")  # image_newline
        state[names.get(begins, after) + name.removeprefix(begins)] = value.to(dtype).contiguous()
    model.config.dtype = dtype
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
