"""CLIP folders of transformers: config.json, weights, tokenizer and preprocessor files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers
from PIL import Image
from torch import Tensor, nn

from razor_cli.dual.components import HUGGING_FACE, TowerLayout
from razor_cli.dual.view import Tower
from razor_cli.errors import RazorError, WeightsError, headline
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import salt_of
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.hf_files import check_folder, read_config, read_processor
from razor_cli.families.clip.text import Tokenizer
from razor_cli.families.clip.tokens import LARGEST, PROBES, check_tokenizer, within
from razor_cli.weights.checkpoint import read_state

SPELLINGS = (*PROBES, "A  Photo, of Zoë's cat!")
OLD_END = 2  # of configurations from before the end token was named: transformers reads the largest id then


def load_hugging_face(label: str, folder: str | None, weights: Mapping[str, Tensor] | None = None) -> Clip:
    """Load a transformers CLIP folder (config.json, weights, tokenizer and preprocessor files); `weights`
    where not all of them lie in it.
    """
    from transformers import CLIPModel, CLIPTokenizer

    path = Path(folder or "").expanduser()
    check_folder(path)
    config = _config(path)
    stored = read_state(path) if weights is None else weights
    with worded(path, "describes a model that transformers cannot build"):
        module = CLIPModel(config)
    fill(module, stored, f"model.weights='{path.name}'", "config.json and weights must be of one model")
    with worded(path, "holds a tokenizer that transformers cannot read"):
        tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=True)
    size = config.vision_config.image_size
    view = hugging_face_view(label, module, tokenizer, _transform(path, size), stored, path.name)
    _check_followed(path, lambda texts: tokenized(tokenizer, texts, config.text_config))
    view.salt = salt_of(path)
    return view


def hugging_face_view(
    label: str,
    module: Any,
    tokenizer: Any,
    transform: Callable[[Image.Image], Tensor],
    stored: Mapping[str, Tensor],
    source: str,
) -> Clip:
    """Return a transformers CLIP behind the family's face. Raises WeightsError for a tokenizer that is not
    the model's.
    """
    vision, text = module.config.vision_config, module.config.text_config
    what = f"model.weights='{source}'"
    checked = within(lambda texts: tokenized(tokenizer, texts, text), text.vocab_size, what)
    end = text.eos_token_id if text.eos_token_id != OLD_END else LARGEST
    check_tokenizer(checked, what, unknown=tokenizer.unk_token_id, end=end)

    def pooled(features: Any) -> Tensor:  # newer versions return an output object
        value: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        return value

    layouts = (
        _hf_layout(module, Tower.VISION, vision, "vision_model", "visual_projection.weight"),
        _hf_layout(module, Tower.TEXT, text, "text_model", "text_projection.weight"),
    )
    return Clip(
        label=label,
        stand_in=False,
        module=module.eval(),
        layouts=layouts,
        image_features=lambda x: pooled(module.get_image_features(pixel_values=x)),
        text_features=lambda t: pooled(module.get_text_features(input_ids=t)),
        transform=transform,
        tokenizer=checked,
        stored=stored,
        source=source,
        architecture=named(vision),
    )


def tokenized(tokenizer: Any, texts: list[str], text: Any) -> Tensor:
    """Return the ids of texts, as long as the longest and no longer than the text tower takes them."""
    ids: Tensor = tokenizer(
        texts,
        padding="longest",
        truncation=True,
        max_length=text.max_position_embeddings,
        return_tensors="pt",
    )["input_ids"]
    return ids


def architecture_of(folder: Path) -> str:
    """Return what a folder's image tower is called, from its config.json."""
    check_folder(folder)
    return named(_config(folder).vision_config)


def _config(folder: Path) -> Any:
    from transformers import CLIPConfig

    with worded(folder, "describes a model that transformers cannot build"):
        return CLIPConfig.from_dict(read_config(folder))


@contextmanager
def worded(folder: Path, what: str) -> Iterator[None]:
    """Turn whatever the library raises over a folder's files into one sentence."""
    try:
        yield
    except RazorError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise WeightsError(
            f"the folder {folder} {what}", found=headline(error), fix="save or fetch its files again"
        ) from error


def named(vision: Any) -> str:
    """Return what an image tower is called, by its size and its activation function."""
    return f"hf-clip-{vision.hidden_size}x{vision.num_hidden_layers}-{vision.hidden_act}"


def _check_followed(folder: Path, tokenize: Tokenizer) -> None:
    """Raise WeightsError where tokenizer.json, read by itself, gives other ids than the library's class."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    with worded(folder, "holds a tokenizer that cannot be read"):
        own = tokenizers.Tokenizer.from_file(str(file))
    own.no_padding()
    own.no_truncation()
    for text in SPELLINGS:
        if (said := own.encode(text).ids) != (ids := tokenize([text])[0].tolist()):
            raise WeightsError(
                f"{file} is not followed: CLIP's tokenizer gives other ids than it",
                found=f"{text!r}: {ids} instead of {said}",
                fix="save the tokenizer that the model was trained with as CLIPTokenizer does",
            )


def _transform(folder: Path, image_size: int) -> Callable[[Image.Image], Tensor]:
    """Return the library's own preparation of a picture, [3, H, W], with every setting of the folder."""
    from transformers import CLIPImageProcessor

    return prepared_by(CLIPImageProcessor(**read_processor(folder, image_size)))


def prepared_by(processor: Any) -> Callable[[Image.Image], Tensor]:
    """Return how an image processor of the library prepares one picture."""

    def transform(image: Image.Image) -> Tensor:
        pixels: Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    return transform


def _hf_layout(module: nn.Module, tower: Tower, config: Any, part: str, projection: str) -> TowerLayout:
    # Versions differ in what precedes `encoder.layers`, so the prefix is found, not written down.
    first = next(n for n, _ in module.named_parameters() if n.startswith(part) and ".layers.0." in n)
    return TowerLayout(
        tower=tower,
        prefix=first[: first.index("layers.0.") + len("layers.")],
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        projection=projection,
        names=HUGGING_FACE,
    )
