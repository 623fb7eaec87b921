"""What `razor patch apply` writes, loaded by transformers 4.57 and the diffusers of its time, in a process of
their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_sd import tiny_sd3, tiny_sd15

from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import apply, write_patch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PACKAGES = (
    "transformers>=4.57,<4.58",
    "diffusers>=0.35,<0.36",
    "huggingface_hub>=0.34,<1",
    "tokenizers>=0.22,<0.23",
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
