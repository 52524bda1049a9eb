"""Worst case of a defence over all attacks.

There are four rules: ``joint`` (an example counts as robust only if every attack fails on it: makes
no error, or in a targeted matrix no error that is the target), ``greedy`` (segmentation: each image
meets the attack that lowers the pooled mIoU most), ``images`` (segmentation with targets, see
``resisting``) and ``single`` (one attack is chosen for the whole set, so the most successful one
counts).

Seeds are averaged and never add examples: intervals and paired tests (``paired_tests``) see each
example once.
"""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge import metrics, statistics
from harness.judge.budget import TOLERANCE
from harness.judge.values import Rate
from harness.results import codec
from harness.results.records import Metric, Record

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds.

    Attributes:
        value: mean over the seeds; a fraction for rates.
        lo: lower end of the interval, or ``None``.
        hi: upper end of the interval, or ``None``.
        level: confidence level of the interval.
        method: how the interval was made.
        k: successes, summed over the seeds.
        n: the denominator, summed over the seeds.
        examples: number of examples of one seed.
        seeds: number of seeds.
        sd: standard deviation over the seeds; ``None`` for one seed.
    """

    value: float
    lo: float | None = None
    hi: float | None = None
    level: float | None = None
    method: str | None = None
    k: int | None = None
    n: int | None = None
    examples: int | None = None
    seeds: int = 1
    sd: float | None = None


@dataclass(frozen=True)
class Outcome:
    """Per-example outcomes of one record, decoded.

    Attributes:
        ids: digest and number of the examples; only outcomes with equal ids can be compared.
        bits: ``before, after, success, eligible`` → bool ``[N]``.
        confusions: ``before, after`` → ``[N, K, K + 1]``.
        targets: pixels of each image that have a target, where the record counts them.
        distances: distance of the nearest wrong input that was found, ``[N]``, infinite without
            one; where the record has it.
        radii: certified radius in L2, ``[N]``, 0 without one; where the record has it.
    """

    ids: str
    bits: Mapping[str, NDArray[np.bool_]]
    confusions: Mapping[str, NDArray[np.integer]]
    targets: metrics.Aimed | None = None
    distances: Floats | None = None
    radii: Floats | None = None

    def decides(self, kept: str) -> bool:
        """Return whether it has what a headline counts; see ``Headline.kept``."""
        if kept == "pixels":
            return self.targets is not None
        return kept in self.bits or bool(self.confusions)

    @property
    def size(self) -> int:
        """Number of examples that were judged."""
        return max(len(part) for part in (*self.bits.values(), *self.confusions.values()))


@dataclass(frozen=True)
class Evidence:
    """Per-example outcomes of one defence for paired tests.

    Attributes:
        robust: ``[N]`` share of seeds in which attacks fail on the example, NaN where not counted.
        counts: ``[N, K, K + 1]`` worst confusions, summed over seeds (segmentation).
        pixels: ``[N, 2]`` pixels that resist, and pixels asked, summed over seeds (segmentation
            with targets).
    """

    robust: Floats | None = None
    counts: NDArray[np.integer] | None = None
    pixels: Floats | None = None


@dataclass(frozen=True)
class Worst:
    """Worst case of one defence.

    Attributes:
        score: the headline figure in the worst case.
        evidence: outcomes for paired tests.
        without: attack → the score without that attack.
    """

    score: Estimate
    evidence: Evidence
    without: Mapping[str, float]


Runs = Mapping[str, Mapping[int, Outcome]]  # attack → seed → outcome

COUNTED = {"after": "before", "success": "eligible"}
"""Bit that decides whether an example is robust → bit of the examples that it is asked of: of those
that are not right before the attack, none is robust in accuracy, and none counts in success."""


def decode(record: Record) -> Outcome | None:
    """Decode a record's outcomes; return ``None`` where it has none or they cannot be read."""
    bits, maps = record.outcomes, record.confusions
    try:
        if bits:
            found = codec.unpack_outcomes(bits)
            whole = {"before", "after"} <= set(found)
            if not whole:
                return None
            return Outcome(
                f"{bits.get('ids')}:{bits['n']}",
                found,
                {},
                distances=_distances(record, found),
                radii=codec.unpack_radii(bits),
            )
        if maps:
            counts = {role: codec.unpack_confusions(maps, role) for role in ("before", "after")}
            if not all(part.any() for part in counts.values()):
                return None
            shape = list(counts["before"].shape)
            ids = f"{record.stages.get('slice')}:{shape}"
            return Outcome(ids, {}, counts, codec.unpack_aimed(maps))
    except ValueError:
        return None
    return None


def _distances(record: Record, bits: Mapping[str, NDArray[np.bool_]]) -> Floats | None:
    """Return the distances of a record, if its budget asks for them.

    Raises:
        ValueError: they contradict what is right or wrong, or are longer than any change.
    """
    budget = record.cell.budget
    found = codec.unpack_distances(record.outcomes or {}) if budget.get("minimal") else None
    if found is None:
        return None
    right, right_after = bits["before"], bits["after"]
    if np.isinf(found).tolist() != (right & right_after).tolist() or found[~right].any():
        raise ValueError("distances contradict the outcomes")
    if budget.get("norm") == "linf" and (found[np.isfinite(found)] > 1 + TOLERANCE).any():
        raise ValueError("a distance is longer than any change within [0, 1]")
    return found


def rate(values: Sequence[float], k: Sequence[int], n: Sequence[int]) -> Estimate:
    """Return a rate over seeds: the mean, with Wilson's interval at the examples of one seed.

    Args:
        values: the rate of each seed; need not be ``k / n`` exactly.
        k: successes of each seed.
        n: denominator of each seed.

    >>> rate([0.5, 0.6], [50, 60], [100, 100]).examples
    100
    """
    value = plain.fmean(values)
    examples = round(plain.fmean(n))
    lo, hi = statistics.wilson(min(examples, round(value * examples)), examples)
    sd = plain.stdev(values) if len(values) > 1 else None
    return Estimate(value, lo, hi, statistics.LEVEL, "wilson", sum(k), sum(n), examples, len(k), sd)


def pooled(figures: Sequence[Metric], examples: int | None = None) -> Estimate | None:
    """Return a metric's mean over seeds; ``None`` where it is absent in every seed.

    Args:
        figures: the metric in each seed's record.
        examples: number of judged examples, for figures that count none (mIoU).
    """
    present = [figure for figure in figures if figure.value is not None]
    if not present:
        return None
    values = [float(figure.value) for figure in present if figure.value is not None]
    counts = [(f.k, f.n) for f in present if f.k is not None and f.n]
    if len(counts) == len(present):
        return rate(values, [k for k, _ in counts], [n for _, n in counts])
    lo = [figure.lo for figure in present if figure.lo is not None]
    hi = [figure.hi for figure in present if figure.hi is not None]
    sd = plain.stdev(values) if len(values) > 1 else None
    return Estimate(
        plain.fmean(values),
        plain.fmean(lo) if lo else None,
        plain.fmean(hi) if hi else None,
        present[0].level,
        present[0].method,
        examples=examples,
        seeds=len(values),
        sd=sd,
    )


_ASKED_OF = {"after": np.all, "success": np.any}


def joint(runs: Runs, kept: str = "after") -> Worst | None:
    """Count an example as robust only if *every* attack fails on it.

    Args:
        runs: decoded outcomes; those without the bit are left out.
        kept: ``after``: the share of all examples that are right before and after every attack;
            ``success``: the share of eligible examples on which no attack reaches its goal.

    >>> bits = {"before": np.array([1, 1, 1, 0], bool)}
    >>> first = Outcome("", {**bits, "after": np.array([1, 1, 0, 0], bool)}, {})
    >>> second = Outcome("", {**bits, "after": np.array([0, 1, 1, 1], bool)}, {})
    >>> joint({"a": {0: first}, "b": {0: second}}).score.value
    0.25
    """
    per_seed, counts, spared = [], list[int](), {attack: 0.0 for attack in runs}
    for outcomes in by_seed(runs, kept).values():
        attacks = list(outcomes)
        # equal for all attacks, but where a random network drew other least likely classes; where
        # they differ, neither rule spares the defence an example
        asked = _ASKED_OF[kept]([outcomes[a].bits[COUNTED[kept]] for a in attacks], axis=0)
        broken = np.stack([_broken(outcomes[a], kept) for a in attacks])
        times = broken.sum(axis=0)
        n = len(asked) if kept == "after" else int(asked.sum())
        if not n:
            continue
        robust = np.where(asked, times == 0, 0.0 if kept == "after" else np.nan)
        per_seed.append(robust)
        counts.append(n)
        for row, attack in zip(broken, attacks, strict=True):
            spared[attack] += float(np.sum(asked & row & (times == 1))) / n
    if not per_seed:
        return None
    k = [int(np.nansum(robust)) for robust in per_seed]
    score = rate([a / b for a, b in zip(k, counts, strict=True)], k, counts)
    without = {attack: score.value + more / len(per_seed) for attack, more in spared.items()}
    return Worst(score, Evidence(robust=np.mean(per_seed, axis=0)), without)


def _broken(outcome: Outcome, kept: str) -> NDArray[np.bool_]:
    return ~outcome.bits["after"] if kept == "after" else outcome.bits["success"]


def greedy(runs: Runs) -> Worst | None:
    """Choose for each image the attack that lowers the pooled mIoU most."""
    values, chosen, before = [], [], []
    for outcomes in by_seed(runs, "after").values():
        stack = np.stack([outcome.confusions["after"] for outcome in outcomes.values()])
        worst = metrics.worst_case_miou(stack)
        values.append(worst.miou)
        chosen.append(stack[worst.choice, np.arange(stack.shape[1])])
        before.append(next(iter(outcomes.values())).confusions["before"])
    if not values:
        return None
    counts, clean = np.sum(chosen, axis=0), np.sum(before, axis=0)
    miou = metrics.segmentation(clean, counts).metrics["miou"]
    interval = miou if isinstance(miou, Rate) else None
    score = Estimate(
        plain.fmean(values),
        interval.lo if interval else None,
        interval.hi if interval else None,
        interval.level if interval else None,
        interval.method if interval else None,
        examples=len(counts),
        seeds=len(values),
        sd=plain.stdev(values) if len(values) > 1 else None,
    )
    return Worst(score, Evidence(counts=counts), {})


def single(
    runs: Runs, scores: Mapping[str, Estimate], higher_is_better: bool, kept: str
) -> Worst | None:
    """Choose the most successful attack for the whole set.

    Args:
        runs: decoded outcomes; if empty, there is no evidence for a test.
        scores: attack → the headline figure.
        higher_is_better: direction, from the defender's side.
        kept: outcome bit that means robust: ``after`` (right after the attack) or ``success``
            (eligible and the attack fails).
    """
    if not scores:
        return None
    sign = 1 if higher_is_better else -1
    order = sorted(scores, key=lambda attack: sign * scores[attack].value)
    worst = order[0]
    second = scores[order[1]].value if len(order) > 1 else None
    without = {attack: scores[worst].value for attack in order}
    if second is not None:
        without[worst] = second
    bits = [_robust(outcome, kept) for outcome in runs.get(worst, {}).values()]
    robust = [row for row in bits if row is not None]
    if robust:
        return Worst(scores[worst], Evidence(robust=np.mean(robust, axis=0)), without)
    maps = [o.confusions["after"] for o in runs.get(worst, {}).values() if o.confusions]
    return Worst(scores[worst], Evidence(counts=np.sum(maps, axis=0) if maps else None), without)


def _robust(outcome: Outcome, name: str) -> Floats | None:
    if name not in outcome.bits:
        return None
    if name == "success":
        failed = (~outcome.bits["success"]).astype(np.float64)
        return np.where(outcome.bits["eligible"], failed, np.nan)
    return outcome.bits[name].astype(np.float64)


def by_seed(runs: Runs, part: str) -> dict[int, dict[str, Outcome]]:
    """Return the outcomes that have a part, by seed, then attack."""
    found: dict[int, dict[str, Outcome]] = {}
    for attack, outcomes in runs.items():
        for seed, outcome in outcomes.items():
            if part in outcome.bits or part in outcome.confusions:
                found.setdefault(seed, {})[attack] = outcome
    return dict(sorted(found.items()))
