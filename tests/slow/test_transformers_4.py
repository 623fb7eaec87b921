"""What `razor patch apply` writes, loaded by transformers 4.57 and the diffusers of its time, and an edit
that is made with them, in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_llava import tiny_companion, tiny_llava
from tiny_sd import paired_clip, tiny_sd3, tiny_sd15

import razor_cli
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, read_patch, verify, write_patch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PACKAGES = (
    "transformers>=4.57,<4.58",
    "diffusers>=0.36,<0.37",
    "huggingface_hub>=0.34,<1",
    "tokenizers>=0.22,<0.23",
    "httpx<1",  # which that diffusers imports, and this one does not
    "httpcore",
)
LOADING = """
import json, sys, torch, transformers
from diffusers import DiffusionPipeline
assert transformers.__version__.startswith("4.57"), transformers.__version__
folder, name, less = sys.argv[1:]
pipe = DiffusionPipeline.from_pretrained(folder, local_files_only=True, **json.loads(less))
part, _, rest = name.partition(".")
state = getattr(pipe, part).state_dict()
key = next(k for k in state if k.removeprefix("text_model.") == rest.removeprefix("text_model."))
seeds = torch.Generator().manual_seed(0)
drawn = pipe("cats", num_inference_steps=2, generator=seeds, output_type="pt").images
print(json.dumps({"sum": state[key].double().sum().item(), "finite": bool(drawn.isfinite().all())}))
"""
EDITING = """
import io, json, sys, transformers
from pathlib import Path
from razor_cli.alone import edit_alone
from razor_cli.config import compose
from razor_cli.config.command_line import read
from razor_cli.screen import Screen
assert transformers.__version__.startswith("4.57"), transformers.__version__
folder, *words = sys.argv[1:]
edit_alone(compose.checked(read(words)), Screen(file=io.StringIO()), Path(folder))
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the registry does not have them: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_an_edited_folder_loads(libraries: Path, tmp_path: Path, kind: str) -> None:
    base = (tiny_sd15 if kind == "sd15" else tiny_sd3)(tmp_path / "base")
    state = read_state(base)
    name = next(n for n in state if n.startswith("text_encoder.") and n.endswith("layers.1.mlp.fc1.weight"))
    write_patch(tmp_path / "p.safetensors", {name: state[name] + 1}, state, method="razor", target=None)
    out = apply(tmp_path / "p.safetensors", base, tmp_path / "out")
    less = {"text_encoder_3": None, "tokenizer_3": None} if kind == "sd3" else {"safety_checker": None}
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(out), name, json.dumps(less)],
        env={**os.environ, "PYTHONPATH": str(libraries)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "newly initialized" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["finite"] and found["sum"] == pytest.approx(float((state[name].double() + 1).sum()))


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_an_edit_made_with_it_has_the_names_of_every_other(
    libraries: Path, tmp_path: Path, kind: str
) -> None:
    base = (tiny_sd15 if kind == "sd15" else tiny_sd3)(tmp_path / "base")
    for name, end in (("text_encoder", "_clip"), ("text_encoder_2", "_clip_2"))[: 1 + (kind == "sd3")]:
        paired_clip(base, tmp_path / f"base{end}", name)
    (tmp_path / "edit").mkdir()
    sizes = {"forget": 2, "retain": 4, "validation_forget": 2, "validation_retain": 2, "unseen": 2}
    words = [f"data.n_{name}={count}" for name, count in sizes.items()]
    words += [f"model={'sd15' if kind == 'sd15' else 'sd3_medium'}", f"model.weights={base}", "method=random"]
    words += ["scenario=style", "target=Cubism", "data=generated", "data.steps=1"]
    words += [f"output_dir={tmp_path / 'runs'}"]
    source = Path(razor_cli.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", EDITING, str(tmp_path / "edit"), *words],
        env={**os.environ, "PYTHONPATH": f"{libraries}{os.pathsep}{source}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    patch = tmp_path / "edit" / "patch.safetensors"
    assert set(read_patch(patch)[1]) <= set(read_state(base)) and verify(patch, base) == []
    apply(patch, base, tmp_path / "out")


LLAVA = """
import json, sys, torch, transformers
from transformers import AutoModelForImageTextToText
assert transformers.__version__.startswith("4.57"), transformers.__version__
folder, rest = sys.argv[1:]
told = {"output_loading_info": True, "local_files_only": True}
model, info = AutoModelForImageTextToText.from_pretrained(folder, **told)
value = next(v for n, v in model.named_parameters() if n.endswith(rest))
print(json.dumps({"sum": value.double().sum().item(), "missing": info["missing_keys"]}, default=list))
"""


def test_an_edited_llava_loads(libraries: Path, tmp_path: Path) -> None:
    """Also one that was patched by its CLIP's patch: what is written keeps the spelling of its files."""
    base = tiny_llava(tmp_path / "llava")
    clip = read_state(tiny_companion(base, tmp_path / "llava_clip"))
    rest = "encoder.layers.1.mlp.fc1.weight"
    values = {f"vision_model.{rest}": clip[f"vision_model.{rest}"] + 1}
    write_patch(tmp_path / "p.safetensors", values, clip, method="razor", target=None)
    out = apply(tmp_path / "p.safetensors", base, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", LLAVA, str(out), rest],
        env={**os.environ, "PYTHONPATH": str(libraries)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "newly initialized" not in done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["missing"] == []
    assert found["sum"] == pytest.approx(float(sum(v.double().sum() for v in values.values())))
