"""From what there is to draw to the checked sets of a run: shots, lists of prompts, near names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from razor_cli.data.answer_sets import Scene, Seeds, answers, validation
from razor_cli.data.ask import Embed
from razor_cli.data.choices import AnswerSet, Preserve
from razor_cli.data.disjoint import check_shots
from razor_cli.data.sampling import Joined, content, rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets, Shots
from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.photo import same
from razor_cli.data.wording import CELL, CROSSED, Subject, Words, cell, of_cell
from razor_cli.errors import ConfigError, DataError, nearest

NEAREST = "near"  # of data.anchor: the nearest name in the target's place
FOUND = "found"  # data.retain_near=[found]: by the model's own text embedding


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many pictures, or pictures to draw, every set has."""

    forget: int
    retain: int
    validation_forget: int
    validation_retain: int
    evaluation_forget: int
    evaluation_retain: int
    unseen: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What sets of a model that draws are made of, before pictures are chosen."""

    scene: Scene
    counts: Counts
    seeds: Seeds
    answer_set: AnswerSet = AnswerSet.REDUCED
    preserve: Preserve = Preserve.HALF
    anchor: str | None = None
    aliases: tuple[str, ...] = ()
    spared: Mapping[str, Sequence[str]] = field(default_factory=dict)
    held_back: bool = False


def assemble(plan: Plan, forget: Pairs, retain: Pairs, notes: Sequence[str] = ()) -> DrawnSets:
    """Return the checked sets of a plan. Raises DataError where there are no pictures to compute from."""
    scene, counts = plan.scene, plan.counts
    for name, pairs in (("forget", forget), ("retain", retain)):
        if not len(pairs):
            raise DataError(
                f"data: no picture to {name} with", found=f"target='{scene.target}'", allowed="at least one"
            )
    short = [
        f"{name}: {len(pairs)} pictures, data.n_{name}={wanted} asked for"
        for name, pairs, wanted in (("forget", forget, counts.forget), ("retain", retain, counts.retain))
        if len(pairs) < wanted
    ]
    targets, anchors, anchor = anchored(scene, plan.anchor)
    words = scene.words
    sets = DrawnSets(
        target=scene.target,
        axis=scene.axis,
        aliases=plan.aliases,
        joint=scene.gone if scene.going > 1 else (),
        called=words.called(scene.axis, scene.gone[0]) if scene.going == 1 else "",
        spoken=tuple(words.called(scene.axis, n) for n in scene.gone) if scene.going > 1 else (),
        forget=forget,
        retain=retain,
        validation=_searched(plan),
        evaluation=answers(
            scene,
            plan.seeds,
            plan.answer_set,
            (counts.evaluation_forget, counts.evaluation_retain, counts.unseen),
        ),
        labels=scene.labels,
        prompts={n: words.only(scene.axis, n) for n in scene.labels[scene.axis]},
        generic_prompt=words.generic[scene.axis],
        anchor=anchor,
        target_prompts=targets,
        anchor_prompts=anchors,
        retain_prompts=retain_prompts(scene, plan.preserve),
        near=scene.near,
        spared=plan.spared,
        notes=(*notes, *short),
    )
    judged = sets.on_validation() if plan.held_back else sets
    check_shots(judged)
    return judged


def _searched(plan: Plan) -> Shots:
    """Return the validation shots; for a run that is judged on them twice as many, two alike sets in turn."""
    counts = plan.counts

    def drawn() -> Shots:
        return validation(plan.scene, plan.seeds, counts.validation_forget, counts.validation_retain)

    if not plan.held_back:
        return drawn()
    first, second = drawn(), drawn()
    return Shots(shot for both in zip(first, second, strict=True) for shot in both)


def target_prompts(scene: Scene) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the prompts that name the target, and for each what it says without it."""
    words, found = scene.words, {}
    for subject in sorted(scene.own()):
        rest = tuple((kind, name) for kind, name in subject if kind != scene.axis)
        prompt = words.prompt(subject, words.frame(subject).benchmark)
        named = bool(rest) and scene.axis != CELL
        found[prompt] = words.prompt(rest, words.alone[rest[0][0]]) if named else words.generic[scene.axis]
    for name in scene.gone:
        found.setdefault(words.only(scene.axis, name), words.generic[scene.axis])
    return tuple(found), tuple(found.values())


def anchored(scene: Scene, anchor: str | None) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the target's prompts, for each what stands in its place, and that of the bare target: what each
    says without the target, what it says of another name, or one prompt for all.
    """
    words, (targets, plain) = scene.words, target_prompts(scene)
    if anchor is None:
        return targets, plain, words.generic[scene.axis]
    if anchor == NEAREST and not scene.near:
        raise DataError(
            "data.anchor=near: no name is known to lie near the target",
            found=f"target='{scene.target}'",
            fix=f"data.anchor=NAME, or data.retain_near=[NAME, …] or [{FOUND}]",
        )
    name = scene.near[0] if anchor == NEAREST else anchor
    if name not in scene.labels[scene.axis]:
        return targets, (anchor,) * len(targets), anchor
    found = {}
    for subject in sorted(scene.own()):
        swapped = tuple((kind, name if kind == scene.axis else n) for kind, n in subject)
        other = of_cell(name) if scene.axis == CELL else swapped
        frame = words.frame(subject).benchmark
        found[words.prompt(subject, frame)] = words.prompt(other, frame)
    only = words.only(scene.axis, name)
    for gone in scene.gone:
        found.setdefault(words.only(scene.axis, gone), only)
    return tuple(found), tuple(found.values()), only


def retain_prompts(scene: Scene, preserve: Preserve) -> tuple[str, ...]:
    """Return the prompts that an edit is told to keep; none names the target."""
    words = scene.words
    if preserve is Preserve.NONE:
        return words.neutral
    cells = list(dict.fromkeys(scene.others()))
    alone: list[Subject] = [((kind, n),) for kind in _beside(scene) for n in scene.labels[kind]]
    if preserve is Preserve.HALF:
        kin = [s for s in cells if dict(s).get(scene.axis)]
        rest = [s for s in cells if s not in kin]
        kin = _checkered(kin, scene.axis) if scene.partner else kin[::2]
        cells, alone = kin + _checkered(rest, CROSSED[0]), alone[::2]
    elif preserve is Preserve.NAMES:
        far = [n for n in scene.labels[scene.axis][scene.going :] if n not in scene.near]
        kept = set(rng_for(scene.seed, "preserved").sample(far, (len(far) + 1) // 2))
        shown = [cell(dict(s)) if scene.axis == CELL else dict(s).get(scene.axis) for s in cells]
        cells = [s for s, name in zip(cells, shown, strict=True) if name in kept]
        alone = alone[::2]
    prompts = [words.prompt(s, words.frame(s).benchmark) for s in cells]
    prompts += [words.only(*subject[0]) for subject in alone]
    return tuple(dict.fromkeys([*prompts, *words.neutral]))


def _checkered(cells: Sequence[Subject], kind: str) -> list[Subject]:
    """Return every second cell of each name of a kind, so that neighbouring names keep different ones."""
    numbers, kept = dict[str, int](), []
    for subject in cells:
        name = dict(subject)[kind]
        place = list(numbers).index(name) if name in numbers else len(numbers)
        turn = numbers.get(name, 0)
        numbers[name] = turn + 1
        if (place + turn) % 2 == 0:
            kept.append(subject)
    return kept


def _beside(scene: Scene) -> list[str]:
    """Return the kinds that a picture of the target also shows, or objects and styles where it shows none."""
    return [scene.partner] if scene.partner else [k for k in CROSSED if k in scene.labels]


def nearest_names(
    axis: str,
    names: Sequence[str],
    *,
    given: Sequence[str],
    listed: Sequence[str],
    count: int,
    words: Words,
    embed: Embed,
) -> tuple[tuple[str, ...], list[str]]:
    """Return the names nearest to the first one, and notes: those given, those found by the text embedding of
    the unedited model where FOUND is, else the shipped list's.
    """
    target, others = names[0], list(names[1:])
    if list(given) == [FOUND]:
        prompts = [words.only(axis, n) for n in (target, *others)]
        first, *rest = embed(prompts)
        order = sorted(range(len(rest)), key=lambda i: -_cosine(first, rest[i]))
        found = tuple(others[i] for i in order[:count])
        return found, [f"near: {', '.join(found)}, by the text embedding"]
    if given:
        return tuple(named(n, others, "data.retain_near", f"{axis} beside the target") for n in given), []
    found = tuple(n for n in listed if n in others)[:count]
    told = f"near: nothing is listed for {target}; data.retain_near=[NAME, …] or [{FOUND}] fills that column"
    return found, [] if found else [told]


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    size = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return sum(x * y for x, y in zip(a, b, strict=True)) / size if size else 0.0


def named(name: str, names: Sequence[str], key: str, what: str) -> str:
    """Return a name as it is listed, however it is written. Raises ConfigError with the nearest ones."""
    for listed in names:
        if same(listed) == same(name):
            return listed
    close = nearest(name, names)
    raise ConfigError(
        f"{key}='{name}': no such {what}",
        allowed=", ".join(names),
        found=name,
        fix=f"did you mean {' or '.join(close)}?" if close else None,
    )


def pairs_of(chosen: Sequence[tuple[Picture, Source]]) -> Pairs:
    """Return pictures of several sources as one set; content that is there already is left out."""
    seen: dict[tuple[str, int], tuple[Picture, Source]] = {}
    for picture, source in chosen:
        seen.setdefault((content(picture.key), picture.view), (picture, source))
    by_domain: dict[str, dict[str, Source]] = {}
    for picture, source in seen.values():
        by_domain.setdefault(picture.domain, {})[picture.key] = source
    sources: dict[str, Source] = {
        domain: next(iter(owners.values()))
        if len({id(s) for s in owners.values()}) == 1
        else Joined(domain, owners)
        for domain, owners in by_domain.items()
    }
    return Pairs(tuple(p for p, _ in seen.values()), sources)
