"""What the settings of a pipeline's components say against loading it: models of another kind behind a served
class, parts that do not belong together. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import (
    CLIP_TOKENIZERS,
    INDEX,
    SERVED,
    T5,
    T5_TOKENIZER,
    Part,
    PipelineFiles,
)
from razor_cli.families.diffusion.kinds import Kind, Prediction
from razor_cli.families.diffusion.vocabulary import Vocabulary, read_vocabulary
from razor_cli.weights.model_files import refused

LATEST = 2  # eos_token_id of old configurations: the model reads a text at its largest id
ANOTHER = "give a folder whose parts were trained together"
# Of a UNet: settings by which something else than a prompt enters it.
OTHER_INPUTS = ("addition_embed_type", "class_embed_type", "num_class_embeds", "encoder_hid_dim_type")
ENCODERS_3 = ("text_encoder", "text_encoder_2")
PREDICTIONS = (Prediction.EPSILON.value, Prediction.VELOCITY.value)


def refusals(files: PipelineFiles) -> list[WeightsError]:
    """Return everything that the settings of a pipeline's components say against loading it."""
    found = list(_quantized(files))
    if files.kind is Kind.SD15 and {"unet", "vae", "text_encoder"} <= files.parts.keys():
        found += _of_unet(files)
    if files.kind is Kind.SD3 and {"transformer", "vae", *ENCODERS_3} <= files.parts.keys():
        found += _of_transformer(files)
    for name, part in files.encoders().items():
        tokenizer = name.replace("text_encoder", "tokenizer")
        if tokenizer in files.tokenizers:
            found += _of_tokenizer(files.tokenizers[tokenizer], part)
    if T5 in files.parts and T5_TOKENIZER in files.tokenizers:
        found += _of_t5(files.tokenizers[T5_TOKENIZER])
    return found


def _quantized(files: PipelineFiles) -> Iterator[WeightsError]:
    for name, part in files.parts.items():
        if part.config.get("quantization_config"):
            yield refused(
                f"the component {name} of '{files.path}' is stored quantized",
                allowed="float16, bfloat16 or float32",
                found=f"quantization_config in {name}/config.json",
                fix="give the weights from before; quantization=int8 is an axis of a run",
            )


def _of_unet(files: PipelineFiles) -> Iterator[WeightsError]:
    unet, vae, text = (files.parts[n].config for n in ("unet", "vae", "text_encoder"))
    others = [f"{key}: {unet[key]}" for key in OTHER_INPUTS if unet.get(key) is not None]
    if others:
        yield refused(
            f"the UNet of '{files.path}' wants more than a prompt",
            allowed=SERVED,
            found="; ".join(others),
            fix="give a model that draws from prompts alone",
        )
    channels, latent = unet.get("in_channels", 4), vae.get("latent_channels", 4)
    if channels != latent:
        wants = "an inpainting model" if channels == 2 * latent + 1 else "a UNet that wants more than noise"
        yield refused(
            f"the UNet of '{files.path}' does not go with its VAE",
            allowed=f"unet.in_channels = {latent}, as vae.latent_channels",
            found=f"{channels}: {wants}",
            fix="give a model that draws from prompts alone",
        )
    yield from _width(files, "unet.cross_attention_dim", unet.get("cross_attention_dim", 1280), text)
    said = files.schedule.get("prediction_type", "epsilon")
    if said not in PREDICTIONS:
        yield refused(
            f"the scheduler of '{files.path}' is not served: what the UNet predicts",
            allowed=f"prediction_type {' or '.join(PREDICTIONS)}",
            found=said,
            fix="if the UNet predicts one of these, say so in scheduler/scheduler_config.json",
        )


def _width(files: PipelineFiles, key: str, said: Any, text: Mapping[str, Any]) -> Iterator[WeightsError]:
    wide = text.get("hidden_size", 512)
    widths = set(said) if isinstance(said, list) else {said}
    if widths != {wide}:
        yield refused(
            f"the text encoder of '{files.path}' is not the one that its net was trained with",
            allowed=f"{key} = {wide}, as text_encoder.hidden_size",
            found=said,
            fix=ANOTHER,
        )


def _of_transformer(files: PipelineFiles) -> Iterator[WeightsError]:
    net, vae = files.parts["transformer"].config, files.parts["vae"].config
    later = [f"{key}: {net[key]}" for key in ("dual_attention_layers", "qk_norm") if net.get(key)]
    if later:
        yield refused(
            f"the transformer of '{files.path}' is that of Stable Diffusion 3.5, which is not served",
            allowed=f"{SERVED}; of the transformer no dual_attention_layers and no qk_norm",
            found="; ".join(later),
            fix="give a folder of Stable Diffusion 3, or the stand-in: model=sd3_tiny",
        )
    if net.get("in_channels", 16) != vae.get("latent_channels", 4):
        yield refused(
            f"the transformer of '{files.path}' does not go with its VAE",
            allowed=f"transformer.in_channels = {vae.get('latent_channels', 4)}, as vae.latent_channels",
            found=net.get("in_channels", 16),
            fix=ANOTHER,
        )
    texts = [files.parts[n].config for n in ENCODERS_3]
    pooled = sum(t.get("projection_dim", 512) for t in texts)
    if net.get("pooled_projection_dim", 2048) != pooled:
        yield refused(
            f"the text encoders of '{files.path}' are not those that its transformer was trained with",
            allowed=f"transformer.pooled_projection_dim = {pooled}, the sum of both projection_dim",
            found=net.get("pooled_projection_dim", 2048),
            fix=ANOTHER,
        )
    joint, wide = net.get("joint_attention_dim", 4096), sum(t.get("hidden_size", 512) for t in texts)
    t5 = files.parts[T5].config.get("d_model", 512) if T5 in files.parts else joint
    if wide > joint or t5 != joint:
        yield refused(
            f"the text encoders of '{files.path}' are not those that its transformer was trained with",
            allowed=f"widths of CLIP up to {joint} together, T5 {joint}: transformer.joint_attention_dim",
            found=f"{wide}" + (f", T5 {t5}" if T5 in files.parts else ""),
            fix=ANOTHER,
        )


def _of_t5(folder: Path) -> Iterator[WeightsError]:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
        yield refused(
            f"'{folder}' holds no tokenizer of T5",
            allowed="tokenizer.json or spiece.model",
            found="neither",
            fix="model.t5=off loads the pipeline without T5, or fetch tokenizer_3",
        )


def _of_tokenizer(folder: Path, part: Part) -> Iterator[WeightsError]:
    """Hold a tokenizer against the encoder that reads its ids."""
    try:
        words = read_vocabulary(folder)
    except WeightsError as error:
        yield error
        return
    if words.kind not in (None, *CLIP_TOKENIZERS):
        yield _wrong(folder, part, "its class", ", ".join(CLIP_TOKENIZERS), words.kind)
    rows = part.config.get("vocab_size", 49408)
    if words.size != rows:
        allowed = f"{rows} ids, one for each row of the embedding"
        yield _wrong(folder, part, "its size", allowed, f"{words.size} ids")
        return
    yield from _special(folder, part, words)
    most = part.config.get("max_position_embeddings", 77)
    if words.longest is None or not 2 <= words.longest <= most:
        yield _wrong(folder, part, "its length", f"model_max_length 2 to {most}", words.longest)


def _special(folder: Path, part: Part, words: Vocabulary) -> Iterator[WeightsError]:
    """Check the tokens that begin and end a text: the encoder sums a text up where it ends."""
    end = part.config.get("eos_token_id", 49407)
    wanted = words.size - 1 if end == LATEST else end
    if words.end != wanted:
        allowed = f"eos_token with id {wanted}" + (", the largest" if end == LATEST else "")
        yield _wrong(folder, part, "its end token", allowed, f"id {words.end}")
    elif end != LATEST and words.start != part.config.get("bos_token_id", 49406):
        allowed = f"bos_token with id {part.config.get('bos_token_id', 49406)}"
        yield _wrong(folder, part, "its start token", allowed, f"id {words.start}")


def _wrong(folder: Path, part: Part, what: str, allowed: str, found: object) -> WeightsError:
    return refused(
        f"the tokenizer in '{folder}' is not that of {part.name}: {what}",
        allowed=allowed,
        found=found,
        fix="give the tokenizer that the encoder was trained with",
    )


def check_alone(path: Path) -> None:
    """Raise WeightsError for a file that no pipeline can be read from, by its ending."""
    if path.suffix != ".safetensors":
        raise refused(
            f"'{path}' is not read: a pipeline in one file is a .safetensors file here",
            allowed=f".safetensors, or a folder with {INDEX}",
            found=path.suffix or "no ending",
            fix="load it in the program that wrote it and save its state dict as .safetensors",
        )
