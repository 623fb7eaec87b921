"""Which architectures are served is said from their configurations, before weights, tokenizers and
networks.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import pytest
import torch
from loading_cases import TINY, architectures, weights_of, written

from razor_cli.errors import WeightsError
from razor_cli.families.clip import architectures as judged
from razor_cli.families.clip.architectures import check_served, configuration_of, serves
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.families.clip.served import refusal
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.runs import remembered

__all__ = ["architectures"]  # a fixture
NOT_SERVED = "model.architecture={} is not served: "


def spec_of(architecture: str, weights: Path) -> ClipSpec:
    return ClipSpec(
        name="own", stand_in=False, library=Library.OPEN_CLIP, architecture=architecture, weights=str(weights)
    )


def test_every_name_of_the_library_is_judged_without_building_it(tmp_path: Path) -> None:
    """Names that are refused say so at once. None is written down here: others may be served later."""
    (tmp_path / "w.pt").write_bytes(b"no weights at all")
    told = {name: serves(configuration_of(name)) for name in open_clip.list_models()}
    assert set(told.values()) == {True, False}
    for name, served in told.items():
        said = spec_of(name, tmp_path / "w.pt").problems()
        if served:
            assert not any("is not served" in problem.what for problem in said)
        else:
            assert len(said) == 1 and said[0].what.startswith(NOT_SERVED.format(name)) and said[0].fix


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"vision_cfg": {"timm_model_name": "coatnet_0_224"}}, "'coatnet_0_224' is none of those of timm"),
        ({"text_cfg": {"hf_model_name": "some/words"}}, "'some/words' is one of transformers"),
        (
            {"vision_cfg": {"block_type": "custom"}},
            "the blocks of its vision_cfg are open_clip's custom ones",
        ),
    ],
)
def test_a_refusal_says_what_it_is_about(part: dict[str, Any], says: str) -> None:
    config = {**TINY, **{name: {**TINY[name], **value} for name, value in part.items()}}
    why = refusal(config)
    assert why is not None and says in why[0] and not serves(config)


def test_refusals_come_before_weights_and_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(*_: Any, **__: Any) -> None:
        raise AssertionError("read too early")

    for name in ("CLIP", "CustomTextCLIP", "get_tokenizer", "download_pretrained"):
        monkeypatch.setattr(open_clip, name, unread)
    refused = next(n for n in open_clip.list_models() if not serves(configuration_of(n)))
    for weights in (str(tmp_path / "absent.pt"), "a_tag", None):
        with pytest.raises(WeightsError, match="is not served"):
            load_open_clip("x", refused, weights)


def test_names_of_the_hub_say_how_to_get_a_folder(tmp_path: Path) -> None:
    problems = spec_of("hf-hub:some/model", tmp_path).problems()
    assert "hf download some/model" in str(problems[0].fix) and "local-dir:" in str(problems[0].fix)
    with pytest.raises(WeightsError, match="not fetched by name"):
        load_open_clip("x", "hf-hub:some/model", str(tmp_path))


def test_a_tokenizer_that_is_not_here_is_named_before_weights(tmp_path: Path) -> None:
    named = next(
        n
        for n in open_clip.list_models()
        if serves(c := configuration_of(n)) and c["text_cfg"].get("hf_tokenizer_name")
    )
    with pytest.raises(WeightsError, match=r"tokenizer .* is not on this machine") as caught:
        check_served(named, str(tmp_path / "absent.pt"))
    repository = configuration_of(named)["text_cfg"]["hf_tokenizer_name"]
    assert str(caught.value.fix).endswith(f"hf download {repository}")


def test_a_tokenizer_that_cannot_be_read_is_worded(
    architectures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "hf_tokenizer_name": "some/words"}}
    (tmp_path / "configs" / "tiny-words.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    path = written(tmp_path / "w.pt", weights_of("tiny"))
    monkeypatch.setattr(judged, "_is_cached", lambda _: True)
    with pytest.raises(WeightsError, match="tokenizer 'some/words' cannot be read"):
        load_open_clip("x", "tiny-words", str(path))


def test_a_tokenizer_of_the_hub_is_part_of_the_model(
    architectures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files lie in a cache of the library's, apart from weights and architecture, and may be renewed."""
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))
    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "hf_tokenizer_name": "some/words"}}
    (tmp_path / "configs" / "tiny-words.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    written(tmp_path / "w.pt", weights_of("tiny"))
    (hub := tmp_path / "snapshot").mkdir()

    def in_cache(_: str, name: str) -> str | None:
        return str(hub / name) if (hub / name).exists() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", in_cache)
    hashes = []
    for words in ({"a": 0}, {"a": 1}, {"a": 0}):
        (hub / "tokenizer.json").write_text(json.dumps(words))
        hashes.append(spec_of("tiny-words", tmp_path / "w.pt").weights_hash())
    assert hashes[0] == hashes[2] != hashes[1]


def test_configurations_are_read_without_torch() -> None:
    code = (
        "import sys; from razor_cli.families.clip.architectures import configuration_of, serves; "
        "of = configuration_of; assert serves(of('ViT-B-32')); assert not serves(of('roberta-ViT-B-32')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------ folders


def folder_of(tmp_path: Path, model: dict[str, Any] | None = None, **preprocess: Any) -> Path:
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    written(folder / "open_clip_model.safetensors", weights_of("tiny"))
    config = {"model_cfg": TINY if model is None else model, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("architecture", ["tiny", "local-dir:{}"])
@pytest.mark.parametrize(
    ("key", "value", "followed"),
    [
        ("mean", [0.5, 0.4, 0.3], True),
        ("mean", [0.5], False),
        ("std", [0.5, 0.4, 0.3], True),
        ("std", [0, 1, 1], False),
        ("interpolation", "bilinear", True),
        ("interpolation", "nearest", False),
        ("resize_mode", "longest", True),
        ("resize_mode", "pad", False),
        ("fill_color", 200, True),
        ("fill_color", "red", False),
        ("mode", "RGB", True),
        ("mode", "L", False),
        ("size", 16, True),
        ("size", [16, 16], True),
        ("size", 224, False),
        ("crop_pct", 0.9, False),
        ("crop_pct", None, True),
    ],
)
def test_how_a_folder_prepares_pictures_is_followed_or_refused_by_name(
    architectures: None, tmp_path: Path, architecture: str, key: str, value: Any, followed: bool
) -> None:
    from test_loading import PICTURES

    more: dict[str, Any] = {"resize_mode": "longest"} if key == "fill_color" else {}
    folder = folder_of(tmp_path, None, **more, **{key: value})
    if not followed:
        with pytest.raises(WeightsError, match=rf"preprocess_cfg\.{key} is not followed"):
            load_open_clip("x", architecture.format(folder), str(folder))
        return
    model = load_open_clip("x", architecture.format(folder), str(folder))
    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert torch.equal(model.preprocess(PICTURES), torch.stack([transform(p) for p in PICTURES]))


def test_a_folder_that_cannot_be_followed_is_refused_before_its_weights_are_hashed(
    architectures: None, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, crop_pct=0.9)
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match="crop_pct is not followed"):
        spec_of("tiny", folder).weights_hash()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("text_cfg", {"no_causal_mask": True}),
        ("vision_cfg", {"pool_type": "avg"}),
        ("text_cfg", {"act_kwargs": {"approximate": "tanh"}}),
        ("vision_cfg", {"image_size": 24}),
    ],
)
def test_a_folder_that_describes_another_model_is_refused_with_what_differs(
    architectures: None, tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    folder = folder_of(tmp_path, TINY | {part: {**TINY[part], **change}})
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny", str(folder))
    assert f"{part}.{next(iter(change))}" in str(caught.value) and "local-dir:" in str(caught.value.fix)


def test_a_folders_own_architecture_is_built_as_it_says(architectures: None, tmp_path: Path) -> None:
    own = TINY | {"text_cfg": {**TINY["text_cfg"], "no_causal_mask": True}}
    folder = folder_of(tmp_path, own)
    model = load_open_clip("x", f"local-dir:{folder}", str(folder))
    module, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    texts = open_clip.get_tokenizer("tiny")(["a photo of a cat"])
    with torch.no_grad():
        assert torch.equal(model.encode_text(texts), module.eval().encode_text(texts, normalize=True))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({}, "describes no model"),
        ({"vision_cfg": 3, "text_cfg": {}}, "describes no model"),
        (TINY | {"vision_cfg": {**TINY["vision_cfg"], "layers": 10**6}}, "another model than the weights"),
        (TINY | {"text_cfg": {**TINY["text_cfg"], "width": 10**9}}, "another model than the weights"),
        (TINY | {"vision_cfg": {**TINY["vision_cfg"], "width": -5}}, "width is not a size"),
        (TINY | {"vision_cfg": {**TINY["vision_cfg"], "image_size": 10**9}}, "image_size is larger"),
        (TINY | {"text_cfg": {**TINY["text_cfg"], "mlp_ratio": "x"}}, "mlp_ratio is not a ratio"),
        (
            TINY | {"text_cfg": {**TINY["text_cfg"], "tokenizer_kwargs": {"trust_remote_code": True}}},
            "tokenizer_kwargs is not followed",
        ),
        (TINY | {"vision_cfg": {**TINY["vision_cfg"], "nothing": 1}}, "open_clip cannot build it"),
    ],
)
def test_a_folder_whose_configuration_cannot_be_built_is_worded(
    architectures: None, tmp_path: Path, model: dict[str, Any], says: str
) -> None:
    folder = folder_of(tmp_path, model)
    with pytest.raises(WeightsError, match=says):
        load_open_clip("x", f"local-dir:{folder}", str(folder))


def test_a_tower_that_a_folder_names_takes_no_memory_before_its_weights_are_there(
    architectures: None, tmp_path: Path
) -> None:
    vision = {"timm_model_name": "eva_giant_patch14_224", "timm_pool": "token", "timm_proj": None}
    folder = folder_of(tmp_path, TINY | {"vision_cfg": vision})  # 4 GB of weights, in a file of 7 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match="the tensors do not fit"):
        load_open_clip("x", f"local-dir:{folder}", str(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # kilobytes


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model_cfg": 3}', b'{"a": 1, "a": 2}', b"\xff"])
def test_a_folders_configuration_that_is_none_is_named(
    architectures: None, tmp_path: Path, content: bytes
) -> None:
    folder = folder_of(tmp_path)
    (folder / "open_clip_config.json").write_bytes(content)
    for architecture in ("tiny", f"local-dir:{folder}"):
        with pytest.raises(WeightsError, match=r"open_clip_config\.json"):
            load_open_clip("x", architecture, str(folder))
