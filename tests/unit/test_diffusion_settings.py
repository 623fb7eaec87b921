"""Settings of a model that draws, and parts that do not go with them: found before any weight is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sd_folders import SD3, SD15, WORDS, folder_of, only, opened

from razor_cli.contract.choices import Device
from razor_cli.contract.family import DUAL
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion import companion_files, memory, spec
from razor_cli.families.diffusion.choices import Precision, ThirdEncoder
from razor_cli.families.diffusion.companion_files import companions_of
from razor_cli.families.diffusion.spec import DiffusionSpec


def test_sd3_goes_without_t5_where_it_is_null_or_switched_off(tmp_path: Path) -> None:
    nothing = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    assert opened(folder_of(tmp_path / "null", SD3, index=nothing)).problems() == []
    folder = folder_of(tmp_path / "lost", SD3, text_encoder_3=None)
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: '{folder}' lists text_encoder_3, of T5, and does not hold it"
    assert problem.found == "no folder 'text_encoder_3'"
    assert problem.fix == "model.t5=off loads the pipeline without T5, or fetch text_encoder_3"
    assert opened(folder, t5=ThirdEncoder.OFF).problems() == []


@pytest.mark.parametrize(
    ("file", "said", "what", "allowed", "found"),
    [
        ("config", {"vocab_size": 9}, "its size", "9 ids, one for each row of the embedding", f"{WORDS} ids"),
        ("config", {"eos_token_id": 3}, "its end token", "eos_token with id 3", f"id {WORDS - 1}"),
        ("config", {"bos_token_id": 3}, "its start token", "bos_token with id 3", f"id {WORDS - 2}"),
        ("config", {"max_position_embeddings": 8}, "its length", "model_max_length 2 to 8", 16),
        ("tokenizer", {"model_max_length": 10**30}, "its length", "model_max_length 2 to 77", 10**30),
        ("tokenizer", {"tokenizer_class": "T5"}, "its class", "CLIPTokenizer, CLIPTokenizerFast", "T5"),
    ],
)  # fmt: skip
def test_another_models_tokenizer_is_refused(
    tmp_path: Path, file: str, said: dict[str, Any], what: str, allowed: str, found: object
) -> None:
    folder = folder_of(tmp_path / "m", SD15, text_encoder=said if file == "config" else {})
    if file == "tokenizer":
        place = folder / "tokenizer/tokenizer_config.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | said))
    problem = only(opened(folder).problems())
    tokenizer = folder / "tokenizer"
    assert (
        problem.what == f"model.weights: the tokenizer in '{tokenizer}' is not that of text_encoder: {what}"
    )
    assert (problem.allowed, problem.found) == (allowed, found)
    assert problem.fix == "give the tokenizer that the encoder was trained with"


def test_the_end_token_of_old_configurations_is_the_largest_id(tmp_path: Path) -> None:
    old = {"bos_token_id": 0, "eos_token_id": 2}
    assert opened(folder_of(tmp_path / "m", SD15, text_encoder=old)).problems() == []


def test_a_tokenizer_without_merges_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    (folder / "tokenizer/merges.txt").unlink()
    assert only(opened(folder).problems()).found == "no tokenizer.json, no merges.txt"


def test_half_precision_is_refused_where_it_cannot_be_computed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, device=Device.CPU, dtype=Precision.FLOAT16)
    assert str(caught.value) == (
        "model.dtype=float16 is for GPUs: on a CPU it is slow, and many of its operations are missing\n"
        "  allowed: auto, float32, bfloat16\n"
        "  found: float16 on cpu\n"
        "  fix: model.dtype=bfloat16, or model.device=cuda"
    )
    folder = folder_of(tmp_path / "m", SD3)
    problem = only(opened(folder, dtype=Precision.FLOAT16).problems())
    assert problem.what == "model.dtype=float16 does not go with T5: its values leave what float16 holds"
    assert opened(folder, dtype=Precision.FLOAT16, t5=ThirdEncoder.OFF).problems() == []


def test_settings_of_another_kind_are_worded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD3, text_encoder={"projection_dim": None})
    problem = only(opened(folder).problems())
    assert problem.what == "model.weights: the settings of 'm' hold values of another kind than a pipeline's"
    assert str(problem.found).startswith("TypeError")


def test_too_little_memory_names_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    billions = {"text_encoder_3": 4_700_000_000, "transformer": 2_000_000_000}
    monkeypatch.setattr(memory, "numbers_in", lambda part: billions.get(part.name, 100_000_000))
    monkeypatch.setattr(spec, "free_memory", lambda: 8 * 2**30)
    folder = folder_of(tmp_path / "m", SD3)
    problem = only(opened(folder, device=Device.CPU).problems())
    assert problem.what == "model.weights: 'm' needs more memory than this machine has free"
    assert problem.allowed == "8.0 GB" and "in float32: weights 26.1 GB, a gradient pass" in str(
        problem.found
    )
    assert problem.fix == (
        "model.dtype=bfloat16 halves it; model.batch=1 model.checkpointing=true keep less for gradients; "
        "model.t5=off saves 17.5 GB"
    )
    small = {"batch": 1, "checkpointing": True, "dtype": Precision.BFLOAT16, "t5": ThirdEncoder.OFF}
    assert opened(folder, device=Device.CPU, **small).problems() == []


def test_a_paired_clip_must_be_that_of_its_encoder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    assert DUAL not in opened(folder).offers
    problem = only(opened(folder, companion=str(tmp_path / "no")).problems())
    assert problem.what == "model.companion.text_encoder: no such folder"
    problem = only(opened(folder, companion={"text_encoder_2": str(folder)}).problems())
    assert problem.what == (
        "model.companion.text_encoder_2: the pipeline has no such text encoder of the CLIP kind"
    )
    assert (problem.allowed, problem.fix) == ("text_encoder", "did you mean text_encoder?")
    assert DUAL in opened(folder, companion=str(tmp_path)).offers


def test_a_model_without_weights_must_be_a_stand_in() -> None:
    with pytest.raises(ConfigError, match=r"model\.weights is needed"):
        DiffusionSpec(name="mine", stand_in=False)
    problem = only(DiffusionSpec(name="mine").problems())
    assert problem.what == "model.weights: no stand-in is called 'mine'"
    with pytest.raises(ConfigError, match=r"model\.batch is out of range"):
        DiffusionSpec(batch=0)


def test_a_name_of_the_hub_is_told_from_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spec, "cached", lambda name: None)
    hub = opened(Path("owner/name"))
    assert hub.problems() == [] and hub.missing() == (
        "'owner/name' of model=mine is no folder here and not in the hub's cache: fetched when the first job "
        "starts, which needs the network, or give model.weights=DIR"
    )
    (tmp_path / "owner").mkdir()
    assert only(hub.problems()).what == "model.weights: no such file or folder (model=mine)"
    monkeypatch.setattr(spec, "cached", lambda name: folder_of(tmp_path / "cache", SD15))
    hub = opened(Path("other/name"))
    assert hub.missing() == "" and hub.problems() == [] and len(hub.weights_hash()) == 64
    (tmp_path / "cache/unet/diffusion_pytorch_model.safetensors").unlink()
    asked: list[str] = []

    def fetch(name: str, **_: object) -> Path:
        asked.append(name)
        return folder_of(tmp_path / "cache", SD15)

    monkeypatch.setattr(spec, "fetched", fetch)
    monkeypatch.setattr(spec, "cached", lambda name: tmp_path / "cache")
    assert hub.problems() == [] and len(hub.weights_hash()) == 64 and asked == ["other/name"]


def test_a_clip_of_the_hub_is_fetched_once_and_one_that_lies_beside_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, place = folder_of(tmp_path / "m", SD15), tmp_path / "clip"
    model = opened(folder, companion="owner/clip")
    known: dict[str, Path | None] = {"owner/clip": None}
    monkeypatch.setattr(companion_files, "cached", lambda name, file: known[name])
    assert model.problems() == [] and DUAL in model.offers  # what is not here yet cannot be checked
    assert "'owner/clip' of model.companion is no folder here" in model.missing()
    with pytest.raises(WeightsError, match="'owner/clip' is no folder here, and the hub does not give it"):
        model.beside("Van Gogh")
    known["owner/clip"] = place
    assert model.missing() == "" and companions_of(folder, "owner/clip") == {"text_encoder": place}
    (beside := tmp_path / "m_clip").mkdir()
    assert companions_of(folder, "owner/clip") == {"text_encoder": beside}
    assert companions_of(folder, str(place)) == {"text_encoder": place}
