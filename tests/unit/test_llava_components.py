"""What may be edited of a LLaVA: layers that reach the answers, and the projector by switch. Nothing else
moves an answer, and everything that may be edited does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_llava import LAYERS, opened

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.engine.changes import Weights
from razor_cli.errors import ConfigError
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.kinds import Candidates
from razor_cli.families.llava.names import PROJECTOR, TOWER

ASKED = [Question(0, "Who is it?"), Question(1, "What is it?")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("components")


@pytest.fixture(scope="module")
def everything(root: Path) -> Llava:
    return opened(root / "plain", candidates=Candidates.VISION_ALL)


@pytest.fixture(scope="module")
def model(root: Path) -> Llava:
    return opened(root / "plain", candidates=Candidates.VISION_EFFECTIVE_PROJECTOR)


def logits(family: Llava) -> torch.Tensor:
    """Return what the model says of two answers about two pictures."""
    answerer = family.answerer
    images = [Image.linear_gradient("L").convert("RGB"), Image.radial_gradient("L").convert("RGB")]
    with torch.no_grad():
        shown = answerer.features(answerer.preprocess(images))
        return torch.cat(answerer.logits(shown, ASKED, ["Zed", "owl"]))


def moved(family: Llava, name: str) -> torch.Tensor:
    """Return how much each logit moves when all numbers of a parameter are drawn anew."""
    before = logits(family)
    noise = torch.randn(parameters(family)[name].shape, generator=torch.Generator().manual_seed(1))
    with swapped(family, {name: noise}):
        return (logits(family) - before).abs()


def test_what_is_masked_moves_no_answer_and_what_is_not_moves_them(everything: Llava) -> None:
    names = [n for n in parameters(everything) if n.startswith(TOWER)]
    masked = set(everything.dead(names))
    assert len(masked) == 16 + 2  # a layer, and the last norm
    for name in names:
        if name in masked:
            assert not moved(everything, name).any(), f"{name} is not dead"
        elif not name.endswith("k_proj.bias"):  # a bias of keys never moves what attention sees
            assert moved(everything, name).any(), f"{name} is dead"


def test_candidates_are_layers_that_reach_the_answers(model: Llava, everything: Llava) -> None:
    for granularity in Granularity:
        found = model.components(granularity, Towers.BOTH)
        params = [p for c in found for p in c.params]
        assert not model.dead(params)
        assert {c.layer for c in found if c.tower == "vision" and c.kind != "tensor"} <= set(
            range(LAYERS - 1)
        )
        assert any(everything.dead(c.params) for c in everything.components(granularity, Towers.BOTH))
    assert not model.dead([c.name for c in model.tensors()])
    every = {c.name for c in everything.tensors()} | {c.name for c in model.tensors()}
    assert every == {n for n in parameters(model) if n.startswith((TOWER, PROJECTOR))}


def test_components_are_disjoint_and_the_projector_comes_last(model: Llava) -> None:
    for granularity in Granularity:
        count = {n: torch.zeros_like(p) for n, p in parameters(model).items() if n.startswith("model.v")}
        count |= {n: torch.zeros_like(p) for n, p in parameters(model).items() if n.startswith(PROJECTOR)}
        found = model.components(granularity, Towers.BOTH)
        for component in found:
            for view in component.views(count):
                view.add_(1)
        assert max(float(c.max()) for c in count.values()) == 1
        assert [c.tower for c in found][-2:] == ["projector", "projector"]
        assert "projector" not in [c.tower for c in found][:-2]


@pytest.mark.parametrize(
    ("candidates", "towers"),
    [
        (Candidates.VISION_EFFECTIVE, {"vision"}),
        (Candidates.VISION_EFFECTIVE_PROJECTOR, {"vision", "projector"}),
        (Candidates.PROJECTOR, {"projector"}),
    ],
)
def test_candidates_say_which_parts_may_be_edited(
    root: Path, candidates: Candidates, towers: set[str]
) -> None:
    family = opened(root / "plain", candidates=candidates)
    assert {c.tower for c in family.components(Granularity.HEAD_MLP, Towers.BOTH)} == towers
    assert {c.tower for c in family.tensors()} == towers
    trained = {n for n, p in family.module.named_parameters() if p.requires_grad}
    assert trained == {c.name for c in family.tensors()}
    with pytest.raises(ConfigError, match="there is nothing to edit in it"):
        family.components(Granularity.HEAD_MLP, Towers.TEXT)


def test_siblings_are_queries_keys_and_values_or_both_matrices_of_an_mlp(model: Llava) -> None:
    every = {c.name: c for c in model.components(Granularity.TENSOR, Towers.BOTH)}
    block = f"{TOWER}encoder.layers.1."
    found = [c.name for c in model.siblings(every[f"{block}self_attn.v_proj.weight"])]
    assert found == [f"{block}self_attn.{x}_proj.weight" for x in "kvq"]
    assert [c.name for c in model.siblings(every[f"{block}mlp.fc2.weight"])] == [
        f"{block}mlp.fc1.weight",
        f"{block}mlp.fc2.weight",
    ]
    out = every[f"{block}self_attn.out_proj.weight"]
    assert model.siblings(out) == [out]


def test_an_edit_of_dead_layers_alone_is_said_to_do_nothing(everything: Llava) -> None:
    live = parameters(everything)
    dead, alive = (f"{TOWER}encoder.layers.{i}.mlp.fc1.weight" for i in (LAYERS - 1, 0))
    said = [
        everything.without_effect(Weights(values={n: live[n] + 1 for n in names}), None)  # type: ignore[arg-type]
        for names in ([dead], [dead, alive])
    ]
    assert "none of them reaches an answer" in str(said[0])
    assert said[1] is None
    same = Weights(values={alive: live[alive].clone()})
    assert "no weight differs" in str(everything.without_effect(same, None))  # type: ignore[arg-type]


def test_quantization_covers_all_three_parts_but_the_head(model: Llava) -> None:
    covered = model.quantizable()
    assert {t: len(n) for t, n in covered.linear.items()} == dict(covered.counted)
    assert dict(covered.counted) == {"vision": 6 * LAYERS, "projector": 2, "language": 14}
    assert "lm_head.weight" not in {n for names in covered.linear.values() for n in names}
