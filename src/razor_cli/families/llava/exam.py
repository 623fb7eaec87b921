"""The evaluation of a model that answers: evaluation pictures and question sets, asked under whatever weights
it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from razor_cli.contract.family import Say
from razor_cli.contract.place import Key
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.taken_over import TakenOver
from razor_cli.families.llava import persons
from razor_cli.families.llava.album import OfPairs, kept
from razor_cli.families.llava.answers import CHOICES, CLAIMS, FACTS, LOOKS, NEAR, OTHERS, OWN, Answers
from razor_cli.families.llava.asking import Asking
from razor_cli.families.llava.audit import write_answers
from razor_cli.families.llava.benchmarks.items import Item, Record
from razor_cli.families.llava.benchmarks.mmbench import Wording
from razor_cli.families.llava.fa import Told, accuracy, ask_names
from razor_cli.families.llava.language import language_digest, looking_digest
from razor_cli.families.llava.naming import PERSON, naming_of, of_names
from razor_cli.families.llava.near import near_names
from razor_cli.families.llava.opened import OpenedLlava
from razor_cli.families.llava.pictures import Grid
from razor_cli.families.llava.question_sets import Asked, notes_of, question_sets
from razor_cli.families.llava.scoring import Scorer
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.unknown import refuse_unknown
from razor_cli.metrics.score import Score

MORE = "more"  # further pictures of near names
NEAR_IMAGES = 4  # evaluation pictures of each near name, at most


@dataclass(kw_only=True)
class AskedExam:
    """Asks the questions of a run. Built with the unedited weights in place: they say which names are
    near.
    """

    family: OpenedLlava
    sets: ConceptSets
    settings: AskedMetrics = field(default_factory=AskedMetrics)
    cache: TensorCache | None = None
    say: Say = lambda _: None

    def __post_init__(self) -> None:
        s, sets = self.settings, self.sets
        self.asking = Asking(self.family.answerer, s.batch, self.say)
        self.naming = naming_of(s, sets)
        self.near = near_names(self.asking, sets, s.near)
        own, others = kept((sets.evaluation.forget, sets.evaluation.retain))
        each = -(-s.fa_images // len(sets.forget_names))
        self.pairs: dict[str, Pairs] = {
            OWN: of_names(own, sets.forget_names, each),
            OTHERS: of_names(others, sets.retain_names, s.retain_images),
            MORE: of_names(others, self.near, NEAR_IMAGES, s.retain_images),
        }
        self.persons = persons.Persons(
            own=self.pairs[OWN],
            others=self.pairs[OTHERS],
            names=sets.class_names,
            gone=sets.forget_names,
            near=self.near,
        )
        self.asked: list[Asked] = question_sets(s, sets, stand_in=self.family.stand_in)
        self.items = self._items()
        shown = {OWN: self.pairs[OWN], NEAR: of_names(others, self.near, 1), OTHERS: self.pairs[OTHERS]}
        self.grid = Grid.of(shown, OfPairs((own, others)), s.shown, self.naming.prompts[0])
        self.known = TakenOver[Answers](self.family.module)
        self.facts = TakenOver[tuple[Record, ...]](self.family.module)
        self._known = False  # the target, by the unedited model

    def _items(self) -> dict[str, list[Item]]:
        """Return the questions about persons beside their names; none where the run is about other things."""
        s = self.settings
        if self.sets.domain != PERSON:
            return {}
        return {
            CHOICES: list(self.persons.choices(s.binding_images)),
            CLAIMS: list(self.persons.claims(s.binding_images)),
            LOOKS: list(self.persons.looks(s.attribute_images)),
            FACTS: persons.facts(self.sets.class_names, self.sets.forget_names) if s.knowledge else [],
        }

    @property
    def notes(self) -> list[str]:
        """Return what was asked, and how."""
        names = f"names: {self.naming.head}, {len(self.naming.asked)} questions for each picture"
        near = f"nearest names by picture tokens: {', '.join(self.near)}" if self.near else ""
        at_once = f"answers: greedy, {self.settings.batch} at once"
        return [n for n in (names, near, at_once) if n] + notes_of(self.asked)

    def measure(self, key: Mapping[str, object] | None, *, keep: bool = False) -> Answers:
        """Return the answers of the weights as they are now; those that `key` names come from the cache where
        it has them. Raises ConfigError where the first that is asked, the unedited model, does not know the
        target.
        """
        if self.cache is None or key is None:
            found = self._answers(keep)
        else:
            whole = self._key(key, keep)
            tensors, _ = self.cache.get(content_key(whole), lambda: self._answers(keep).tensors())
            found = Answers.of(tensors)
        if not self._known:
            told = found.told[OWN]
            refuse_unknown(accuracy(told).value, len(told), self.settings, self.sets.target, "evaluation")
            self._known = True
        return found

    def _key(self, key: Mapping[str, object], keep: bool) -> dict[str, object]:
        """Return everything that decides the answers of known weights."""
        shown = {who: [p.fingerprint(), p.concepts] for who, p in self.pairs.items()}
        return {
            **key,
            "shown": shown,
            "naming": asdict(self.naming),
            "names": self.sets.class_names,
            "items": {name: [asdict(i) for i in items] for name, items in self.items.items()},
            "sets": [[a.metric, a.wording, a.questions.fingerprint()] for a in self.asked],
            "published": dict(self.settings.judge_hashes(self.sets)),
            "settings": [self.settings.max_new_tokens, self.settings.batch],
            "grid": self.grid.questions if keep else [],
        }

    def forget(self) -> None:
        """Take nothing over from the states measured so far."""
        self.known.forget()
        self.facts.forget()
        self.asking.forget()

    def _answers(self, keep: bool) -> Answers:
        """Return the answers of the weights as they are. Where the same weights looked before, what they saw
        is taken over; where the same ones spoke, what they said of no picture; of both, all answers.
        """
        module = self.family.module
        looking, language = looking_digest(module), language_digest(module)
        return self.known.get(f"{looking} {language} {keep}", lambda: self._asked(looking, language, keep))

    @torch.no_grad()
    def _asked(self, looking: str, language: str, keep: bool) -> Answers:
        self.asking.under(looking)
        wording = Wording(self.settings.mmbench_wording.value)
        told = {who: self._told(pairs) for who, pairs in self.pairs.items()}
        near = [t for t in told[OTHERS] if t.name in self.near]
        told = {OWN: told[OWN], OTHERS: told[OTHERS], NEAR: (*near, *told[MORE])}
        album, judged = self.persons.album, {CHOICES: persons.picked}
        records: dict[str, tuple[Record, ...]] = {}
        for name, items in self.items.items():
            if name == FACTS:
                said = partial(persons.ask_words, self.asking.words, items)
                records[name] = self.facts.get(language, said)
                continue
            how = wording if name == CHOICES else None
            records[name] = persons.ask(self.asking, album, items, judged.get(name, persons.told), how)
        for asked in self.asked:
            records[asked.metric] = asked.run(self.asking)
        if keep:
            records |= self.grid.ask(self.asking)
        return Answers(told=told, records=records)

    def _told(self, pairs: Pairs) -> tuple[Told, ...]:
        """Ask for the names of some pictures, all of them."""
        naming = replace(self.naming, max_images=max(1, len(pairs)))
        ask = self._shorter(self.asking)
        return ask_names(ask, pairs, naming, self.sets.class_names, self.sets.target) if len(pairs) else ()

    def _shorter(self, asking: Asking) -> Callable[..., list[str]]:
        """Return what asks for names, with answers as long as the settings say."""
        return lambda pictures, questions, _: asking(pictures, questions, self.settings.max_new_tokens)

    def scores(self, found: Mapping[Key, Answers], seed: int) -> dict[Key, list[Score]]:
        """Return the scores of every state and quantization, with drops from base and quantized base."""
        scores: dict[Key, list[Score]] = {}
        for (state, scheme), now in found.items():
            quantized = scheme != "none"
            scorer = Scorer(
                now=now,
                against={
                    "base": found["base", "none"],
                    **({"base_q": found.get(("base", scheme))} if quantized else {}),
                },
                edit=found.get((state, "none")) if quantized and state != "base" else None,
                naming=self.naming,
                asked=self.asked,
                gone=self.sets.forget_names,
                seed=seed,
                draws=self.settings.bootstrap_draws,
            )
            scores[state, scheme] = list(scorer.all())
        return scores

    def draw(self, folder: Path, found: Mapping[Key, Answers]) -> None:
        """Write answers.parquet, every question with its answer, and answers.png."""
        write_answers(folder / "answers.parquet", found)
        whole = {state: answers for (state, scheme), answers in found.items() if scheme == "none"}
        self.grid.draw(folder / "answers.png", self.sets.target, whole)
