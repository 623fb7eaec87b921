"""Scores with their intervals from what a state did on each picture: one function per metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from razor_cli.families.clip.reference import Reference
from razor_cli.families.clip.settings import M1Mode, M3Scale, Metrics
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

COSINE, SQUARED_CHANGE = (-1.0, 1.0), (0.0, 4.0)  # what a cosine, and the square of its change, can be
RECOVERY_FLOOR = 5.0  # points of forgetting below which "how much came back" has no meaning
CHANCE = 50.0


def m1_scores(now: Reference, settings: Metrics, against: Mapping[str, Reference | None]) -> list[Score]:
    """M1 in two-prompt and all-class readings, its drop since the unedited model over the same pictures, its
    distance from chance, and forget top-1 and top-5.
    """
    own = _m1_variants(now, settings)
    before = {n: own if r is now else _m1_variants(r, settings) if r else {} for n, r in against.items()}
    scores = []
    for variant, wins in own.items():
        if wins is None:
            scores += [missing(m, variant, _why_no_dual(variant)) for m in ("m1", "m1_chance_gap")]
            continue
        share = _share(wins)
        scores.append(scored("m1", variant, share))
        scores += _drops("m1_drop", variant, wins, {n: found.get(variant) for n, found in before.items()})
        if variant != "multiclass":  # its chance level is 1 / classes
            scores.append(scored("m1_chance_gap", variant, share.distance(CHANCE)))
    for k in (1, 5):
        hits, classes = now.forget_top.get(k), len(now.class_names)
        reason = f"needs at least {k + 1} classes, the domain has {classes}"
        metric = f"fa_top{k}"
        scores.append(
            missing(metric, "all_classes", reason)
            if hits is None
            else scored(metric, "all_classes", _share(hits))
        )
    return scores


def gone_scores(now: Reference) -> list[Score]:
    """M1 against the generic prompt of each concept that goes, where several do."""
    if now.forgotten == 1 or now.forget_concept is None:
        return []
    own = {now.class_names[c]: now.m1["generic"][now.forget_concept == c] for c in range(now.forgotten)}
    return [scored("m1_name", name, _share(wins)) for name, wins in own.items() if len(wins)]


def m2_scores(now: Reference, settings: Metrics, seed: int) -> list[Score]:
    """M2 with the target's prompt and with each picture's own caption."""
    unit = f"cos x{settings.m2_scale:g}"
    return [
        scored(
            "m2",
            text,
            _mean(now.forget_cosine[text], settings, seed, COSINE).scaled(settings.m2_scale),
            unit,
        )
        for text in settings.m2_text
    ]


def m3_scores(
    now: Reference, settings: Metrics, against: Mapping[str, Reference | None], seed: int
) -> list[Score]:
    """M3 on retain and on forget pictures, against each reference state."""
    factor, unit = (100.0, "cos² x100") if settings.m3_scale == M3Scale.X100 else (1.0, "cos²")
    scores = []
    for name, other in against.items():
        for kind in ("retain", "forget"):
            variant = f"{kind}_sq_drift/{settings.m3_scale}/{name}"
            if other is None:
                scores.append(missing("m3", variant, _no_reference(name), unit))
                continue
            after, before = (
                r.retain_cosine if kind == "retain" else r.forget_cosine["native"] for r in (now, other)
            )
            if other is now:
                drift = Interval.exactly(0.0, len(after))
            else:
                drift = _mean((after - before) ** 2, settings, seed, SQUARED_CHANGE)
            scores.append(scored("m3", variant, drift.scaled(factor), unit))
    return scores


def m4_scores(now: Reference, settings: Metrics, against: Mapping[str, Reference | None]) -> list[Score]:
    """M4 with each q_retain, and its drop since the unedited model over the same pictures."""
    scores = []
    for prompt in settings.retain_prompt:
        variant = f"dual/{prompt}"
        if prompt not in now.m4:
            scores.append(missing("m4", variant, _why_no_dual(variant)))
            continue
        scores.append(scored("m4", variant, _share(now.m4[prompt])))
        scores += _drops(
            "m4_drop", variant, now.m4[prompt], {n: r.m4[prompt] if r else None for n, r in against.items()}
        )
    return scores


def m5_scores(
    now: Reference, settings: Metrics, against: Mapping[str, Reference | None], seed: int
) -> list[Score]:
    """Utility, and M5 = 100 (1 - |change of utility|) with a bootstrap of the change paired over pictures."""
    scores = []
    for util in settings.m5_util:
        scores.append(scored("util", util, _utility(now.utility[util], settings, seed).scaled(100)))
        for name, other in against.items():
            variant = f"{util}/{name}"
            if other is None:
                scores.append(missing("m5", variant, _no_reference(name)))
                continue
            change = (
                Interval.exactly(0.0, len(now.utility[util]))
                if other is now
                else stats.bootstrap_difference(
                    now.utility[util], other.utility[util], seed, settings.bootstrap_draws
                )
            )
            lost = change.scaled(100).distance(0)
            kept = Interval(100 - lost.value, _minus(lost.high), _minus(lost.low), lost.n)
            scores.append(scored("m5", variant, kept))
    return scores


def others_scores(now: Reference, settings: Metrics, against: Mapping[str, Reference | None]) -> list[Score]:
    """Zero-shot accuracy of the domain's other concepts: mean over concepts, worst drop, and each concept."""
    if not len(now.others):
        reason = "no retain picture shows another concept of the target's domain"
        return [missing(m, v, reason) for m, v in (("others_acc", "macro"), ("others_worst", "none"))]
    concept, hits = now.others_concept.numpy(), now.others.numpy()
    present, inverse, counts = np.unique(concept, return_inverse=True, return_counts=True)
    weights = 1 / (len(present) * counts[inverse])  # each concept weighs the same
    effective = 1 / float((weights**2).sum())  # = n for concepts of equal size
    macro = stats.wilson(min(float(weights @ hits), 1.0) * effective, effective).scaled(100)
    scores = [scored("others_acc", "macro", Interval(macro.value, macro.low, macro.high, len(hits)))]
    before = {n: r.others if r else None for n, r in against.items()}
    scores += _drops("others_acc_drop", "macro", now.others, before, weights)
    scores.append(_worst(now, against["base"], present))
    if settings.per_concept:
        scores += [
            scored("concept_acc", now.class_names[c], _share(now.others[concept == c])) for c in present
        ]
    return scores


def suite_scores(now: Reference, against: Mapping[str, Reference | None]) -> list[Score]:
    """Zero-shot accuracy on unrelated tasks, and its drop."""
    scores = []
    for name, hits in now.suites.items():
        scores.append(scored(f"zs_{name}", "top1", _share(hits)))
        scores += _drops(
            f"zs_{name}_drop", "top1", hits, {n: r.suites[name] if r else None for n, r in against.items()}
        )
    return scores


def recovery_scores(
    now: Reference, settings: Metrics, base: Reference | None, edit: Reference | None, seed: int
) -> list[Score]:
    """Recovery (M1 now - M1[edit]) / (M1[base] - M1[edit]): the share of the forgetting that quantization
    undid.
    """
    scores = []
    for variant, wins in _m1_variants(now, settings).items():
        if wins is None:
            scores.append(missing("rec", variant, _why_no_dual(variant)))
        elif base is None or edit is None:
            scores.append(missing("rec", variant, "defined for a quantized edit only, against base and edit"))
        else:
            start, end = (_m1_variants(r, settings)[variant] for r in (base, edit))
            assert start is not None and end is not None  # the same pictures and prompts in every state
            forgotten = 100 * float((start - end).mean())
            if forgotten < RECOVERY_FLOOR:
                reason = (
                    f"undefined: the edit lowered M1 by {forgotten:.1f} points, fewer than {RECOVERY_FLOOR:g}"
                )
                scores.append(missing("rec", variant, reason))
                continue
            ratio = stats.bootstrap_ratio(wins - end, start - end, seed, settings.bootstrap_draws)
            scores.append(scored("rec", variant, ratio))
    return scores


def _worst(now: Reference, base: Reference | None, present: np.ndarray) -> Score:
    """Return the largest drop of one concept; among equal drops, that of the concept now least accurate."""
    if base is None:
        return missing("others_worst", "none", _no_reference("base"))
    masks = {int(c): now.others_concept == int(c) for c in present}
    worst = max(
        masks,
        key=lambda c: (
            float((base.others[masks[c]] - now.others[masks[c]]).mean()),
            -float(now.others[masks[c]].mean()),
        ),
    )
    pictures = now.others[masks[worst]]
    drop = (
        Interval.exactly(0.0, len(pictures))
        if base is now
        else stats.paired_difference(base.others[masks[worst]], pictures)
    )
    return scored("others_worst", now.class_names[worst], drop.scaled(100))


def _m1_variants(now: Reference, settings: Metrics) -> dict[str, Tensor | None]:
    variants: dict[str, Tensor | None] = {}
    if M1Mode.DUAL in settings.m1_mode:
        variants |= {f"dual/{prompt}": now.m1.get(prompt) for prompt in settings.retain_prompt}
    if M1Mode.MULTICLASS in settings.m1_mode:
        variants["multiclass"] = now.forget_top.get(1)
    return variants


def _drops(
    metric: str,
    variant: str,
    now: Tensor,
    before: Mapping[str, Tensor | None],
    weights: np.ndarray | None = None,
) -> Iterator[Score]:
    """Yield the drop since each state before, in points; that of a state beside itself is 0 for certain."""
    for name, other in before.items():
        if other is None:
            yield missing(metric, f"{variant}/{name}", _no_reference(name))
        else:
            drop = (
                Interval.exactly(0.0, len(now))
                if other is now
                else stats.paired_difference(other, now, weights=weights)
            )
            yield scored(metric, f"{variant}/{name}", drop.scaled(100))


def _share(hits: Tensor) -> Interval:
    return stats.wilson(float(hits.sum()), len(hits)).scaled(100)


def _utility(values: Tensor, settings: Metrics, seed: int) -> Interval:
    """Return mean utility; where every picture is right, or none, it is a proportion like any other."""
    if float(values.min()) == float(values.max()):
        return stats.wilson(float(values.sum()), len(values))
    return _mean(values, settings, seed, (0.0, 1.0))


def _mean(values: Tensor, settings: Metrics, seed: int, within: tuple[float, float]) -> Interval:
    return stats.bootstrap_mean(values, seed, settings.bootstrap_draws, within=within)


def _minus(points: float | None) -> float | None:
    return None if points is None else 100 - points


def _no_reference(name: str) -> str:
    texts = {"base": "the unedited model", "base_q": "the unedited model under the same quantization"}
    return f"no reference: {texts.get(name, 'the edited model in full precision')} was not measured"


def _why_no_dual(variant: str) -> str:
    if variant == "dual/per_image_class":
        return "a forget picture has no retain class of its own"
    return "the target's domain has no other class"
