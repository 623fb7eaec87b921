"""Probes: a model is asked for its target without the prompt, by pictures of the target.

The pictures are those that the unedited model draws from evaluation shots of the target, and in which the
exam's judge finds it: no edit has looked at them. Each probe draws with further seeds of the evaluation, so
that no picture is drawn from the noise that it began with.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.contract.family import Say
from razor_cli.contract.place import Key, Place
from razor_cli.data.shots import BENCHMARK, DrawnSets, Shots
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.answers import Answers
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.drawer import Drawer
from razor_cli.families.diffusion.drawing import PictureStore
from razor_cli.families.diffusion.inversion import Tokens, Wording
from razor_cli.families.diffusion.naming import names_of
from razor_cli.families.diffusion.panel import Panel
from razor_cli.families.diffusion.probe_settings import LEARNT, Probe
from razor_cli.families.diffusion.protocol import Protocol
from razor_cli.families.diffusion.redrawing import Given, Kept, keeping, left_half
from razor_cli.families.diffusion.scoring import Scorer
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.families.diffusion.token_search import FoundTokens
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing

PROBED = 1  # raise when a change here alters pictures, so that kept answers are not taken for new
FULL = "none"  # probes ask in full precision only
NONE_SEEN = "the judge finds the target in no picture that the unedited model draws of it"
# Learning rates: of textual inversion that of Gal et al.; of words what found most in the unedited stand-in
# on validation prompts (conf/metrics/default/diffusion.yaml has the numbers), where PEZ takes 0.1.
RATES = {Probe.INVERSION: 5e-3, Probe.TOKENS: 0.5}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What tokens are learnt with."""

    ti_tokens: int
    ti_steps: int
    ti_batch: int
    ti_lr: float
    ti_random: float | None = None  # that of the table


@dataclass(kw_only=True)
class Prober:
    """Asks a model for its target, whatever weights it holds. Built with the unedited weights in place."""

    family: Drawer
    sets: DrawnSets
    settings: DrawnMetrics
    judges: Panel  # of the exam
    store: PictureStore
    say: Say = lambda _: None
    shots: Shots = field(init=False)  # whose pictures are begun with
    pictures: Tensor = field(init=False)
    panel: Panel = field(init=False)
    refused: dict[str, str] = field(default_factory=dict, init=False)  # probe -> why it cannot ask

    def __post_init__(self) -> None:
        s, axis = self.settings, self.sets.axis
        asked = shots_of(self.sets, s.probe_pictures)
        drawn = self.store.pictures([x.prompt for x in asked], [x.seed for x in asked], s.sampler)
        panel, seen = self._panel(asked), list[int]()
        if len(asked):
            seen = (panel.answers(drawn)[axis] == panel.wanted[axis]).nonzero()[:, 0].tolist()
        self.asked, self.shots, self.pictures = len(asked), Shots(asked[i] for i in seen), drawn[seen]
        self.panel = self._panel(self.shots)
        self.seeds = [seed_of(x.prompt, x.seed) for x in self.shots]
        if not seen:
            self.refused = dict.fromkeys(s.probes, NONE_SEEN)
            return
        denoiser = self.family.denoiser
        parts = self.pictures.split(s.batch)
        self.latents = torch.cat([denoiser.latents(p.float() / 255).cpu() for p in parts])
        for probe in s.learnt:
            try:
                self._tokens(probe)
            except ConfigError as error:
                self.refused[probe] = error.what

    def _panel(self, shots: Shots) -> Panel:
        return Panel(shots=shots, judges=self.judges.judges, prefix=self.judges.prefix)

    @property
    def note(self) -> str:
        """Return what a reader of the scores must know."""
        s = self.settings
        how = [p + (f" ({s.probe_steps} steps)" if p in LEARNT else "") for p in s.probes]
        how = [p + (f" (strength {s.probe_strength:g})" if p == Probe.COMPLETION else "") for p in how]
        return (
            f"probes in full precision: {', '.join(how)}; from the {len(self.shots)} of {self.asked} "
            "pictures of the target by the unedited model in which its judge finds it"
        )

    def key(self) -> dict[str, object]:
        """Return what the answers depend on beside weights, sampler and judges."""
        s = self.settings
        given = {"pictures": hashlib.sha256(self.pictures.numpy().tobytes()).hexdigest()}
        own = {"names": names_of(self.sets), "texts": self._texts(), "generic": self.sets.generic_prompt}
        numbers = [s.probe_strength, s.probe_steps, s.probe_batch, s.probe_tokens]
        seeds = {"shots": self.shots.fingerprint(), "seeds": self.seeds}
        return {"probed": PROBED, "probes": list(s.probes), "numbers": numbers, **given, **own, **seeds}

    def answers(self) -> dict[str, Mapping[str, Tensor]]:
        """Return for each probe what judges say of the pictures that it gets from the weights as they are
        now.
        """
        asked = [Probe(p) for p in self.settings.probes if p not in self.refused]
        return {probe: self.panel.answers(self.drawn(probe)) for probe in asked}

    @torch.no_grad()
    def drawn(self, probe: Probe) -> Tensor:
        """Return the pictures of a probe [n, 3, H, W], bytes."""
        if probe in LEARNT:
            tokens = self._tokens(probe)
            tokens.learn(
                self.latents,
                self._budget(probe),
                seed_of(probe, 0),
                tick=lambda *_: None,
                say=lambda said: self.say(f"probe {probe}: {said}"),
            )
            with tokens.inserted():
                prompts = [tokens.instead(x.prompt) for x in self.shots]
                contexts = Context.cat([self.family.denoiser.encode([p]) for p in prompts])
            return self._draw(probe, contexts)
        contexts = self.family.denoiser.encode([self.sets.generic_prompt]).expand(len(self.shots))
        if probe is Probe.COMPLETION:
            kept = Kept(latents=self.latents, strength=self.settings.probe_strength)
            return self._draw(probe, contexts, kept)
        found = self._draw(probe, contexts, Kept(latents=self.latents, part=left_half(self.latents)))
        return torch.where(left_half(found), self.pictures, found)  # the decoder would blur the seam

    def _draw(self, probe: Probe, contexts: Context, kept: Kept | None = None) -> Tensor:
        denoiser, sampler, count = self.family.denoiser, self.settings.sampler, len(self.shots)
        parts = [slice(i, i + sampler.batch) for i in range(0, count, sampler.batch)]
        asked = ((contexts.rows(p), self.seeds[p]) for p in parts)

        def given_as(number: int, given: Given) -> Given:
            return given if kept is None else keeping(denoiser, given, kept.rows(parts[number]))

        found: list[Tensor] = []
        for pictures in denoiser.batches(asked, sampler, given_as=given_as):
            found.append(pictures)
            self.say(f"probe {probe}: {sum(map(len, found))} of {count} pictures")
        return torch.cat(found)

    def _texts(self) -> list[str]:
        return [self.sets.prompts[name] for name in self.sets.forget_names]

    def _budget(self, probe: Probe) -> Budget:
        s = self.settings
        return Budget(
            ti_tokens=s.probe_tokens, ti_steps=s.probe_steps, ti_batch=s.probe_batch, ti_lr=RATES[probe]
        )

    def _tokens(self, probe: Probe) -> Tokens:
        """Return tokens that have learnt nothing. Raises ConfigError where prompts cannot hold them."""
        place = Wording(
            texts=self._texts(),
            names=names_of(self.sets),
            also=[x.prompt for x in self.shots],
            prompts=f"metrics.probes={probe}",
            count="metrics.probe_tokens",
            rate=f"metrics.probes={probe}",
            way_out="fewer of them",
        )
        denoiser, budget, seed = self.family.denoiser, self._budget(probe), seed_of(probe, 1)
        if probe is Probe.TOKENS:
            return FoundTokens(denoiser, place, budget, seed)
        return Tokens(denoiser, place, budget, seed, first=self.sets.axis)

    def scores(self, found: Mapping[Key, Answers], seed: int) -> dict[Key | Place, list[Score]]:
        """Return the scores of every state under each probe: those on what was forgotten, with the drop since
        the unedited model under the same probe.
        """
        wanted = {kind: places.numpy() for kind, places in self.panel.wanted.items()}
        protocol = Protocol(sets=self.sets, shots=self.shots, wanted=wanted, prefix=self.panel.prefix)
        scores: dict[Key | Place, list[Score]] = {}
        for probe in self.settings.probes:
            step = self.settings.probe_steps if probe in LEARNT else None
            said = {
                state: {kind: x.numpy() for kind, x in answers.probed.get(probe, {}).items()}
                for (state, scheme), answers in found.items()
                if scheme == FULL
            }
            for state, own in said.items():
                place = Place(state, FULL, probe, step)
                if why := self.refused.get(probe):
                    scores[place] = [missing("ua", self.panel.prefix + BENCHMARK, why)]
                    continue
                now = Scorer(
                    protocol=protocol,
                    said=own,
                    against={"base": said["base"]},
                    seed=seed,
                    draws=self.settings.bootstrap_draws,
                )
                scores[place] = list(now.forgetting())
        return scores


def shots_of(sets: DrawnSets, count: int) -> Shots:
    """Return evaluation shots of the target, evenly spread over them: of the benchmark's template where it
    has some.
    """
    own = sets.evaluation.of(sets.axis, sets.forget_names)
    first = Shots(s for s in own if s.template == BENCHMARK) or own
    count = min(count, len(first))
    return Shots(first[i * len(first) // count] for i in range(count))


def seed_of(*parts: object) -> int:
    """Return a seed of the evaluation's own: its last two bits are those of no search and of no edit."""
    return 4 * (zlib.crc32("/".join(["probe", *map(str, parts)]).encode()) >> 2)
