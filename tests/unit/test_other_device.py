"""Edits and their evaluation on a device other than the CPU, made up, so that it needs no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from other_device import OtherDevice
from presets import preset
from tiny_world import make_clip, make_sets, run
from tracing_worlds import traced

from razor_cli.config.quantization import Quantization
from razor_cli.contract.edit import Edit
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.families.clip.settings import Metrics
from razor_cli.metrics.score import Score

METHODS = (
    "razor",
    "razor_alg1",
    "slug",
    "ssd",
    "salun",
    "lotus",
    "ft",
    "ga",
    "gaft",
    "relabel_tan",
    "salun_tan",
    "task_vector_tan",
    "npo_kl_tan",
    "nhl_kl",
    "me_gd",
    "gdiff_tan",
    "random",
)
TWO_EPOCHS = {"ft", "salun"}  # of the pictures to keep, and of a mask besides


def edited(name: str, cache: TensorCache | None = None, *, elsewhere: bool) -> Edit:
    """Return the edit, an epoch of it where the method trains (of two methods a second, which goes on from
    what the first one left on the device), on the CPU or on the other device.
    """
    model, sets, method = make_clip(), traced(), preset(name)
    if hasattr(method, "epochs"):
        method = preset(name, epochs=2 if name in TWO_EPOCHS else 1, lr=1e-4)
    if not elsewhere:
        return run(method, model, sets, cache=cache)
    with OtherDevice(model):
        return run(method, model, sets, cache=cache)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_edits_on_another_device_as_it_does_on_the_cpu(name: str, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    found, again, wanted = (
        edited(name, cache, elsewhere=True),
        edited(name, cache, elsewhere=True),
        edited(name, elsewhere=False),
    )
    assert found.values and found.values.keys() == wanted.values.keys() == again.values.keys()
    for (
        key,
        value,
    ) in wanted.values.items():  # attention takes another path through the library, which rounds otherwise
        assert torch.allclose(found.values[key].float(), value.float(), atol=2e-3)
        assert torch.equal(found.values[key], again.values[key])  # gradients from disk included


def scores(*, elsewhere: bool) -> list[Score]:
    model, sets, edit = make_clip(), traced(), edited("razor", elsewhere=False)

    def found() -> list[Score]:
        exam = model.exam(sets, Metrics(), None, lambda _: None)
        settings = Quantization(schemes=["none", "int8", "int4", "nf4"])
        change = Weights(values={name: value.to(model.device) for name, value in edit.values.items()})
        changes = {"base": Weights(), "edit": change, "control": change.random_like(model, 0)}
        states = dict(Evaluator(family=model, exam=exam, settings=settings).states(changes))
        return [s for own in exam.scores(states, 0).values() for s in own]

    if not elsewhere:
        return found()
    with OtherDevice(model):
        return found()


def test_states_and_widths_score_the_same_on_another_device() -> None:
    pairs = list(zip(scores(elsewhere=True), scores(elsewhere=False), strict=True))
    assert len(pairs) > 100
    assert all((a.metric, a.variant, a.reason) == (b.metric, b.variant, b.reason) for a, b in pairs)
    assert all(a.value == pytest.approx(b.value, abs=1e-3) for a, b in pairs if b.value is not None)


def test_tensors_of_two_devices_do_not_meet_there() -> None:
    """The made-up device does refuse what a GPU refuses."""
    model, sets = make_clip(), make_sets()
    pixels = model.preprocess(sets.forget.load())
    with OtherDevice(model):
        images = model.encode_image(pixels)
        assert (
            images.device.type == "xpu" and pixels.device.type == "cpu" and images.cpu().device.type == "cpu"
        )
        for mixed in (
            lambda: images @ torch.zeros(images.shape[1], 2),
            lambda: images.gather(1, torch.zeros(12, 1, dtype=torch.long)),
        ):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        assert (images.cpu() @ torch.zeros(images.shape[1], 2)).shape == (12, 2)
