"""Judges of pictures: what they answer, what they refuse, and a lesson on a made-up canvas."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_vit import TinyVit

from razor_cli.errors import ConfigError, DataError, WeightsError
from razor_cli.families.diffusion import canvas_judges, canvas_training
from razor_cli.families.diffusion.canvas_judges import canvas_labels, describe, sha256_of, take_checkpoint
from razor_cli.families.diffusion.canvas_training import Lesson, train_judge
from razor_cli.families.diffusion.judge_net import NETS
from razor_cli.families.diffusion.judge_pictures import IGNORED, SPOILERS, blended, moved, tinted, worn
from razor_cli.families.diffusion.judges import REJECT, Held, Judge, load_judge, resized

HEADS = {"style": ["Ink", "Oil"], "object": ["Cats", "Dogs", "Sea"]}


def written(folder: Path, architecture: str = "plain") -> Path:
    """Write a small random judge as a stand-in's folder has it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    net = NETS[architecture]({k: len(v) for k, v in HEADS.items()}).eval()
    file = folder / "exam.safetensors"
    save_file({n: v.half() if v.is_floating_point() else v for n, v in net.state_dict().items()}, file)
    held = {"views": {"accuracy": 98.5, "n": 200}}
    described = {"name": "made_up", "architecture": architecture, "sha256": sha256_of(file)}
    described["kinds"] = {k: {"labels": v, "measured": held} for k, v in HEADS.items()}
    (folder / "exam.json").write_text(json.dumps(described))
    return folder


def fixed(answers: list[list[float]], *, rejects: bool = True) -> Judge:
    """Return a judge whose logits are given."""
    rows = torch.tensor(answers)
    return Judge(
        kind="object",
        role="exam",
        name="fixed",
        labels=("Cats", "Dogs"),
        sha256="0" * 64,
        side=4,
        rejects=rejects,
        logits=lambda pictures: rows[: len(pictures)],
    )


def test_the_last_column_is_none_of_the_labels() -> None:
    said = fixed([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]).predict(torch.rand(3, 3, 4, 4))
    assert said.labels.tolist() == [0, 1, REJECT]
    assert said.rejected.tolist() == [False, False, True]
    assert torch.allclose(said.confidence, torch.full((3,), float(np.exp(4) / (np.exp(4) + 2))))


def test_a_judge_without_the_reject_class_always_names_something() -> None:
    said = fixed([[4.0, 0.0], [0.0, 4.0]], rejects=False).predict(torch.rand(2, 3, 4, 4))
    assert said.labels.tolist() == [0, 1]


def test_no_pictures_no_answers() -> None:
    said = fixed([[0.0, 0.0, 0.0]]).predict(torch.zeros(0, 3, 4, 4))
    assert said.labels.shape == said.confidence.shape == (0,)


def test_an_unknown_label_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="does not know the object 'Cat'") as error:
        fixed([[0.0]]).index("Cat")
    assert "Cats" in str(error.value)


@pytest.mark.parametrize("architecture", sorted(NETS))
def test_what_is_written_is_what_judges(tmp_path: Path, architecture: str) -> None:
    judge = load_judge(written(tmp_path, architecture), "object", "exam")
    assert judge.labels == ("Cats", "Dogs", "Sea")
    assert judge.held_out == Held(accuracy=98.5, n=200)
    assert judge.sha256 == sha256_of(tmp_path / "exam.safetensors")
    g = torch.Generator().manual_seed(0)
    pictures = torch.rand(5, 3, 48, 80, generator=g)
    torch.manual_seed(3)
    net = NETS[architecture]({k: len(v) for k, v in HEADS.items()}).eval()
    net.load_state_dict(
        {n: v.half().float() if v.is_floating_point() else v for n, v in net.state_dict().items()}
    )
    with torch.no_grad():
        wanted = net(resized(pictures, 64))["object"].argmax(1)
    assert judge.predict(pictures).labels.tolist() == [REJECT if w == 3 else w for w in wanted.tolist()]
    one = torch.cat([judge.predict(p[None]).confidence for p in pictures])
    assert torch.allclose(judge.predict(pictures).confidence, one, atol=1e-5)


def test_other_bytes_than_described_are_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    file = folder / "exam.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="is another file"):
        load_judge(folder, "style", "exam")


@pytest.mark.parametrize(
    ("kind", "role", "gone", "message"),
    [
        ("identity", "exam", None, "judges no identity"),
        ("style", "search", None, "no judge at"),
        ("style", "exam", "exam.safetensors", "no classifier at"),
    ],
)
def test_what_a_folder_lacks_is_said(
    tmp_path: Path, kind: str, role: str, gone: str | None, message: str
) -> None:
    folder = written(tmp_path)
    if gone:
        (folder / gone).unlink()
    with pytest.raises((ConfigError, WeightsError), match=message):
        load_judge(folder, kind, role)


def test_spoiled_pictures_keep_their_shape_and_range() -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.rand(6, 3, 64, 64, generator=g)
    for change in (*SPOILERS, tinted, worn, lambda p, r: moved(p, 64, r, turn=5, zoom=0.1, shift=0.1)):
        out = change(x.clone(), g)
        assert out.shape == x.shape
        assert out.min() >= 0 and out.max() <= 1.0001
        assert not torch.equal(out, x)


def test_mixtures_show_nothing_where_they_differ() -> None:
    g = torch.Generator().manual_seed(1)
    labels, none = torch.tensor([[0, 1], [0, 2], [2, 3]]), torch.tensor([2, 3])
    mixed, said = blended(torch.rand(3, 3, 8, 8, generator=g), labels, none, g)
    assert mixed.shape == (3, 3, 8, 8)
    assert said.tolist() == [[2, 3], [IGNORED, 3], [2, 3]]


def test_the_benchmark_has_51_themes_and_20_objects() -> None:
    styles = canvas_labels("style")
    assert (len(styles), styles[37:40]) == (51, ["Rust", "Seed_Images", "Sketch"])
    assert len(canvas_labels("object")) == 20
    with pytest.raises(ConfigError, match="no classifier of kind 'identity'"):
        canvas_labels("identity")


def test_a_checkpoint_of_the_benchmark_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas_judges, "vit", TinyVit)
    torch.manual_seed(0)
    net = TinyVit(20)
    file = tmp_path / "object.pth"
    torch.save({"model_state_dict": net.state_dict()}, file)
    take_checkpoint(tmp_path / "judges", "exam", "object", file)
    judge = load_judge(tmp_path / "judges", "object", "exam")
    pictures = torch.rand(3, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = net((resized(pictures, 224) - 0.5) / 0.5).argmax(1)
    assert judge.predict(pictures).labels.tolist() == wanted.tolist()
    assert (judge.rejects, judge.side, judge.held_out) == (False, 224, None)
    expected = judge.sha256
    file.unlink()
    with pytest.raises(WeightsError) as error:
        load_judge(tmp_path / "judges", "object", "exam")
    assert "object.pth" in str(error.value) and expected in str(error.value)


def test_another_head_or_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"model_state_dict": TinyVit(7).state_dict()}, tmp_path / "seven.pth")
    with pytest.raises(WeightsError, match=r"not the benchmark's classifier of kind 'object'"):
        take_checkpoint(tmp_path / "judges", "exam", "object", tmp_path / "seven.pth")
    torch.save({"model_state_dict": TinyVit(20)}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="no tensors that can be read safely"):
        take_checkpoint(tmp_path / "judges", "exam", "object", tmp_path / "code.pth")
    assert not (tmp_path / "judges").exists()


def test_what_the_large_network_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str, *, pretrained: bool, num_classes: int) -> torch.nn.Module:
        assert (name, pretrained, num_classes) == (canvas_judges.NETWORK, True, 20)
        raise OSError("no way to the hub")

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=offline))
    with pytest.raises(WeightsError, match=r"cannot be fetched[\s\S]*no way to the hub"):
        canvas_judges.vit(20, pretrained=True)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="needs timm"):
        canvas_judges.vit(20)


def canvas(root: Path) -> Path:
    """Write four cells of ten pictures; a style is a colour, an object a place."""
    rng = np.random.default_rng(0)
    for style, colour in (("Van_Gogh", (250, 220, 20)), ("Winter", (20, 60, 240))):
        for shown, corner in (("Cats", 0), ("Dogs", 32)):
            (root / style / shown).mkdir(parents=True)
            for number in range(1, 11):
                pixels = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8)
                pixels[corner : corner + 32] = np.clip(np.array(colour) + rng.integers(-10, 10, 3), 0, 255)
                Image.fromarray(pixels).save(root / style / shown / f"{number}.jpg")
    return root


def test_a_lesson_on_a_canvas_is_gone_on_with_and_ends_in_a_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = canvas(tmp_path / "canvas")
    lesson = Lesson(
        root=root, kind="style", out=tmp_path / "whole", network="plain", side=32, epochs=6, batch=12, every=4
    )
    train_judge(lesson)
    cut = Lesson(**{**vars(lesson), "out": tmp_path / "cut"})

    def stop(done: int, total: int, loss: float) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_judge(cut, stop)
    assert (cut.out / "exam_style.checkpoint.pt").is_file()
    with pytest.raises(ConfigError, match="of another training"):
        train_judge(Lesson(**{**vars(cut), "seed": 5}))
    train_judge(cut)
    assert sorted(p.name for p in cut.out.iterdir()) == ["exam.json", "exam_style.safetensors"]
    one, two = (load_judge(f, "style", "exam") for f in (lesson.out, cut.out))
    assert one.sha256 == two.sha256
    assert one.labels == ("Van_Gogh", "Winter")
    assert one.held_out is not None and one.held_out.n == 4
    found = canvas_training.material(lesson)
    pictures = canvas_training.pixels_of(found.source, [p for p, _ in found.held], 32)
    said = one.predict(pictures).labels
    right = (said == torch.tensor([label for _, label in found.held])).float().mean().item()
    assert one.held_out.accuracy == round(100 * right, 2)


def test_one_style_alone_cannot_be_told_apart(tmp_path: Path) -> None:
    root = canvas(tmp_path / "canvas")
    for file in sorted((root / "Winter").rglob("*.jpg")):
        file.unlink()
    with pytest.raises(DataError, match="pictures of 1 styles"):
        train_judge(Lesson(root=root, kind="style", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_two_kinds_stand_in_one_description(tmp_path: Path) -> None:
    describe(tmp_path, "exam", "style", {"labels": ["Ink"], "measured": {}})
    file = describe(tmp_path, "exam", "object", {"labels": ["Cats"], "measured": {}})
    assert list(json.loads(file.read_text())["kinds"]) == ["style", "object"]
