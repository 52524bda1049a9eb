"""What resists all attacks together, by a headline's rule, and what they reach."""

from __future__ import annotations

import statistics as plain
from dataclasses import replace

import numpy as np

from harness.judge import statistics
from harness.report.paired_tests import share_of_pixels
from harness.report.worst_case import (
    Estimate,
    Evidence,
    Floats,
    Outcome,
    Runs,
    Worst,
    by_seed,
    greedy,
    joint,
)


def resisting(runs: Runs, rule: str, kept: str) -> Worst | None:
    """Return what resists all attacks together, by a headline's rule other than ``single``."""
    if rule == "greedy":
        return greedy(runs)
    return by_image(runs) if rule == "images" else joint(runs, kept)


def reached(worst: Worst | None) -> Worst | None:
    """Return a worst case counted by what attacks reach, not by what resists them."""
    if worst is None:
        return None
    score = worst.score
    turned = replace(
        score,
        value=1 - score.value,
        lo=None if score.hi is None else 1 - score.hi,
        hi=None if score.lo is None else 1 - score.lo,
        k=None if score.k is None or score.n is None else score.n - score.k,
    )
    return Worst(turned, worst.evidence, {a: 1 - value for a, value in worst.without.items()})


def by_image(runs: Runs) -> Worst | None:
    """Choose for each image the attack that makes most of its pixels their target.

    Pixels add up, so no other choice reaches more. The score is the share of pixels that resist.
    """
    values, resisting, spared = [], list[Floats](), {attack: 0.0 for attack in runs}
    for outcomes in _with_targets(runs).values():
        found = [one.targets for one in outcomes.values() if one.targets]
        reached, asked = (
            np.stack([getattr(each, name) for each in found]).astype(np.float64)
            for name in ("reached", "asked")
        )
        most, total = reached.max(axis=0), asked.max(axis=0)
        if not total.sum():
            continue
        values.append(1 - float(most.sum() / total.sum()))
        resisting.append(np.column_stack((total - most, total)))
        for i, attack in enumerate(outcomes):
            others = np.delete(reached, i, axis=0)
            left = others.max(axis=0) if len(others) else np.zeros_like(most)
            spared[attack] += float((most - left).sum() / total.sum())
    if not values:
        return None
    pixels: Floats = np.sum(resisting, axis=0)
    interval = statistics.percentile_interval(
        share_of_pixels(statistics.bootstrap(pixels, statistics.DRAWS, 0))
    )
    lo, hi = interval or (None, None)
    score = Estimate(
        plain.fmean(values), lo, hi, statistics.LEVEL if interval else None,
        "bootstrap" if interval else None, examples=len(pixels), seeds=len(values),
        sd=plain.stdev(values) if len(values) > 1 else None,
    )  # fmt: skip
    without = {attack: score.value + more / len(values) for attack, more in spared.items()}
    return Worst(score, Evidence(pixels=pixels), without)


def _with_targets(runs: Runs) -> dict[int, dict[str, Outcome]]:
    found = by_seed(runs, "after")
    kept = {s: {a: o for a, o in each.items() if o.targets} for s, each in found.items()}
    return {seed: each for seed, each in kept.items() if each}
