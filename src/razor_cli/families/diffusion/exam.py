"""The evaluation of a model that draws: every evaluation shot drawn under whatever weights it holds, and
judged by judges that no search has asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from razor_cli.contract.family import Say
from razor_cli.contract.place import Key, Place
from razor_cli.data.shots import DrawnSets
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.families.diffusion.answers import Answers
from razor_cli.families.diffusion.companion import Companion, likeness
from razor_cli.families.diffusion.drawer import Drawer
from razor_cli.families.diffusion.fid import Extractor, extractor, frechet, too_few
from razor_cli.families.diffusion.panel import Panel, exam_panel
from razor_cli.families.diffusion.pictures import Shown, draw, shown_of, store
from razor_cli.families.diffusion.pixels import pixels_of
from razor_cli.families.diffusion.probing import Prober
from razor_cli.families.diffusion.protocol import Protocol
from razor_cli.families.diffusion.scoring import Scorer
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

BASE = ("base", "none")
UNMEASURED = "not measured for this judge, so read the row of the base"
NO_COMPANION = "the model has no paired CLIP (model.companion)"


@dataclass(kw_only=True)
class DrawnExam:
    """Draws and judges the evaluation shots. Built with the unedited weights in place: texts of the paired
    CLIP are encoded by them.
    """

    family: Drawer
    sets: DrawnSets
    settings: DrawnMetrics = field(default_factory=DrawnMetrics)
    cache: TensorCache | None = None
    say: Say = lambda _: None

    def __post_init__(self) -> None:
        shots = self.sets.evaluation
        self.companion = companion_of(self.family)
        self.panel: Panel = exam_panel(self.sets, self.settings, self.companion, self.family.denoiser.device)
        wanted = {kind: places.numpy() for kind, places in self.panel.wanted.items()}
        self.protocol = Protocol(sets=self.sets, shots=shots, wanted=wanted, prefix=self.panel.prefix)
        self.kept = torch.from_numpy(np.flatnonzero(~self.protocol.own))
        self.extractor: Extractor | None = extractor(self.settings, self.companion)
        self.shown: Sequence[Shown] = shown_of(self.sets, self.settings.shown)
        self.texts: Tensor | None = None
        if self.settings.clip_score and self.companion is not None and len(self.kept):
            self.texts = self.companion.texts([shots[int(i)].prompt for i in self.kept])
        self.store = self.family.pictures(self.cache)
        self.prober: Prober | None = None
        if self.settings.probes:
            self.prober = Prober(
                family=self.family,
                sets=self.sets,
                settings=self.settings,
                judges=self.panel,
                store=self.store,
                say=self.say,
            )

    @property
    def notes(self) -> list[str]:
        """Return who judged, and how pictures were drawn."""
        s = self.settings
        drawn = [f"pictures: {s.steps} steps, guidance {s.guidance:g}, {s.batch} at once"]
        if self.prober is not None:
            drawn.append(self.prober.note)
        if not self.panel.prefix or self.companion is None:
            return [*self.panel.notes(), *drawn]
        alike = (
            f"{self.companion.name}: its texts lie where those of the model's text encoder do (cosine "
            f"{self.companion.alignment:.3f} or more)"
        )
        return [*self.panel.notes(), alike, *drawn]

    def measure(self, key: Mapping[str, object] | None, *, keep: bool = False) -> Answers:
        """Return the answers of the weights as they are now; what `key` names comes from the cache where it
        is there.
        """
        if self.cache is None or key is None:
            return self._answers(keep)
        parts: dict[str, object] = {
            **key,
            "shots": self.sets.evaluation.fingerprint(),
            "own": self.kept.tolist(),
            "sampler": asdict(self.settings.sampler),
            "judges": self.panel.hashes(),
            "features": self.extractor.name if self.extractor else "",
            "weights_of_features": self.settings.fid_hash,
            "companion": self.companion.digest if self.companion else "",
            "texts": self.texts is not None,
            "shown": [s.row for s in self.shown] if keep else [],
        }
        if keep and self.prober is not None:
            parts["probes"] = self.prober.key()
        found, _ = self.cache.get(content_key(parts), lambda: self._answers(keep).tensors())
        return Answers.of(found)

    @torch.no_grad()
    def _answers(self, keep: bool) -> Answers:
        shots = self.sets.evaluation
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.say(f"drawing: {done} of {len(shots)} pictures")

        prompts, seeds = [s.prompt for s in shots], [s.seed for s in shots]
        pictures = self.store.pictures(prompts, seeds, self.settings.sampler, tick)
        kept = pictures[self.kept]
        rows = [s.row for s in self.shown]
        return Answers(
            said=self.panel.answers(pictures),
            features=self.extractor.features(kept).cpu() if self.extractor and len(kept) else None,
            likeness=likeness(self.companion, kept, self.texts)
            if self.companion and self.texts is not None
            else None,
            probed=self.prober.answers() if keep and self.prober is not None else {},
            pictures=pictures[rows] if keep and rows else None,
        )

    def scores(self, found: Mapping[Key, Answers], seed: int) -> dict[Key | Place, list[Score]]:
        """Return the scores of every state and quantization, with drops from base and quantized base, and of
        every state under each probe.
        """
        said = {key: answers.arrays() for key, answers in found.items()}
        data = self._data_features()
        scores: dict[Key | Place, list[Score]] = {}
        for (state, scheme), answers in found.items():
            quantized = scheme != "none"
            now = Scorer(
                protocol=self.protocol,
                said=said[state, scheme],
                against={"base": said[BASE], "base_q": said.get(("base", scheme)) if quantized else None},
                seed=seed,
                draws=self.settings.bootstrap_draws,
            )
            edit = said.get((state, "none")) if quantized and state != "base" else None
            scores[state, scheme] = [
                *now.forgetting(),
                *now.gone(),
                *now.keeping(),
                *now.names(each=self.settings.per_name),
                *now.recovery(edit),
                *self._quality(answers, found[BASE], data, seed),
                *(self._judges() if (state, scheme) == BASE else ()),
            ]
        if self.prober is not None:
            scores |= dict(self.prober.scores(found, seed).items())
        return scores

    def _quality(self, now: Answers, base: Answers, data: Tensor | None, seed: int) -> Iterator[Score]:
        """Yield FID to the unedited model's pictures and to those of the data, and CLIPScore."""
        if self.extractor is not None and now.features is not None:
            for name, reference in (("base", base.features), ("data", data)):
                yield self._fid(f"{self.extractor.name}/{name}", now.features, reference)
        if now.likeness is not None and self.companion is not None:
            draws = self.settings.bootstrap_draws
            mean = stats.bootstrap_mean(now.likeness.double().numpy(), seed, draws, within=(0.0, 100.0))
            yield scored("clip_score", self.companion.name, mean)
        elif self.settings.clip_score:
            yield missing("clip_score", "", NO_COMPANION)

    @staticmethod
    def _fid(variant: str, now: Tensor, reference: Tensor | None) -> Score:
        if reference is None:
            return missing("fid", variant, "there is no reference")
        if why := too_few(now, reference):
            return missing("fid", variant, why)
        distance = frechet(reference, now)
        return scored("fid", variant, Interval(distance, None, None, min(len(now), len(reference))))

    def _data_features(self) -> Tensor | None:
        """Return the features of the retain set's pictures: what the data, not the model, looks like."""
        if self.extractor is None or not len(self.sets.retain) or not len(self.kept):
            return None
        images = self.sets.retain.head(len(self.kept)).load()
        pixels = pixels_of(images, self.settings.side or self.family.denoiser.side)
        return self.extractor.features((255 * pixels).round().to(torch.uint8)).cpu()

    def _judges(self) -> Iterator[Score]:
        """Yield how often each judge is right on pictures that it was not trained on."""
        for kind, judge in self.panel.judges.items():
            held = getattr(judge, "held_out", None)
            if held is None:
                yield missing("judge_acc", kind, UNMEASURED)
                continue
            share = stats.wilson(held.accuracy / 100 * held.n, held.n).scaled(100)
            yield scored("judge_acc", kind, share)

    def draw(self, folder: Path, found: Mapping[Key, Answers]) -> None:
        """Write pictures.png, the same prompts and seeds under every state in full precision, and the same
        pictures alone.
        """
        states = {
            state: answers.pictures
            for (state, scheme), answers in found.items()
            if scheme == "none" and answers.pictures is not None
        }
        if states and self.shown:
            store(folder, self.sets, self.shown, states)
            draw(folder / "pictures.png", self.sets, self.shown, states)


def companion_of(family: Drawer) -> Companion | None:
    """Return the paired CLIP of the model's first text encoder, where there is one."""
    if not family.paired:
        return None
    towers = family.dual()
    return Companion(
        name=towers.source,
        towers=towers,
        digest=f"{towers.digest} {towers.preparation}",
        alignment=towers.alignment,
    )
