"""Writing `llava_tiny` and its paired CLIP as folders that every version of transformers reads alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from standin_folders import round_weights, write_config, write_json, write_weights
from standin_pack import corpus
from standin_paired import write_words
from standin_shown import SIDE
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPModel, LlavaForConditionalGeneration

from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.llava.chat import END, IMAGE, PAD, TEMPLATE
from razor_cli.families.llava.folder import PARTS

VOCABULARY = 1400  # at most; merges end where every word of the corpus is one token
LONGEST = 512


def round_all(module: nn.Module) -> None:
    """Round weights to the 16 bits that are shipped, so that what goes on from them goes on from the file."""
    round_weights(module)


def words_of() -> Tokenizer:
    """Return the tokenizer of the language model, the same at every call: byte-level pairs of its corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(t, special=True, normalized=False) for t in (PAD, END, IMAGE)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def image_processor() -> dict[str, Any]:
    """Return how pictures are prepared: as `clip_tiny` prepares them."""
    size = {"height": SIDE, "width": SIDE}
    return {
        "crop_size": size,
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(OPENAI_DATASET_MEAN),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(OPENAI_DATASET_STD),
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": SIDE},
    }


def write_llava(llava: LlavaForConditionalGeneration, tokenizer: Tokenizer, out: Path) -> None:
    """Write the model's folder, its weights under the names from before version 4.52."""
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, llava.config, "LlavaForConditionalGeneration", "llava")
    end, pad = tokenizer.token_to_id(END), tokenizer.token_to_id(PAD)
    write_json(
        out / "generation_config.json", {"bos_token_id": end, "eos_token_id": end, "pad_token_id": pad}
    )
    weights = {}
    for name, weight in llava.state_dict().items():
        part = next(p for p in PARTS if name.startswith(p))
        weights[PARTS[part] + name.removeprefix(part).removeprefix("vision_model.")] = weight
    write_weights(out / "model.safetensors", weights)
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"eos_token": END, "pad_token": PAD}
    settings = {
        **special,
        "clean_up_tokenization_spaces": False,
        "extra_special_tokens": {"image_token": IMAGE},
        "image_token": IMAGE,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": LONGEST,
        "padding_side": "left",
        "processor_class": "LlavaProcessor",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write_json(out / "tokenizer_config.json", settings)
    write_json(out / "special_tokens_map.json", special)
    write_json(out / "preprocessor_config.json", {**image_processor(), "processor_class": "LlavaProcessor"})
    write_json(
        out / "processor_config.json",
        {
            "image_token": IMAGE,
            "num_additional_image_tokens": 1,
            "patch_size": llava.config.vision_config.patch_size,
            "processor_class": "LlavaProcessor",
            "vision_feature_select_strategy": llava.config.vision_feature_select_strategy,
        },
    )
    (out / "chat_template.jinja").write_text(TEMPLATE)


def write_paired(clip: CLIPModel, out: Path) -> None:
    """Write the paired CLIP without its image tower, which is the model's own and lies with it alone."""
    write_words(out)
    write_config(out, clip.config, "CLIPModel", "clip")
    weights = {n: w for n, w in clip.state_dict().items() if not n.startswith("vision_model.")}
    write_weights(out / WITHOUT_TOWER, weights)
    write_json(out / "preprocessor_config.json", image_processor())


def megabytes(*folders: Path) -> float:
    """Return the size of folders."""
    return sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file()) / 1e6


def read_json(file: Path) -> dict[str, Any]:
    """Return the content of a JSON file."""
    content: dict[str, Any] = json.loads(file.read_text())
    return content
