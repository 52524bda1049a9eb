"""Judge of random networks: each input was predicted in several draws.

What ranks is the worst draw: an example is right only if it is right in *every* draw, before and
under attack, so its outcome bits are those of the worst draw. The figures of the mean stand beside:
the clean score, which an honest random defence need not lose, and ``…_mean`` under attack. As the
worst of a few draws is never above their mean, robust accuracy is never above clean accuracy.

Intervals are over examples, at their number: draws add none. The variance of an example's mean over
draws is at most that of one draw, so Wilson's interval of a mean is rather too wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.judge import classification as one_class
from harness.judge import ranking as one_rank
from harness.judge.maps import Maps, confusion
from harness.judge.outcomes import Bits, mean_share
from harness.judge.segmentation import Counts, segmentation
from harness.judge.values import Absent, Judged, Metrics, Rate, with_interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Outputs = NDArray[np.floating]
Scalar = TypeVar("Scalar", bound=np.generic)

DRAWS_DIFFER = "draws_differ"
"""Name of the share of clean predictions in which two draws differ, mean over pairs of draws."""


def classification(
    before: Outputs,
    after: Outputs,
    y: Integers,
    *,
    goal: Integers | Absent | None = None,
    controls: one_class.Controls = one_class.NO_CONTROLS,
) -> Judged:
    """Judge a random classifier; see ``classification.classification`` for figures and arguments.

    Args:
        before: logits ``[D, N, K]`` of D draws.
        after: under attack, as many draws. An attack succeeds where it does in any draw.
        y: classes ``[N]``.
        goal: target class ``[N]`` of each input.
        controls: name → as ``before`` and ``after``, of that control.

    Returns:
        Figures and bits of the worst draws, but for ``clean_accuracy``, which is the mean over
        draws; ``accuracy_mean``, ``robust_accuracy_mean`` (right in a draw before and in one under
        attack) and ``flip_rate`` are means over draws, too.

    >>> first = np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
    >>> found = classification(first, first, np.array([0, 0])).metrics
    >>> found["clean_accuracy"].value, found["robust_accuracy"].value
    (0.75, 0.5)
    """
    judged = one_class.classification(
        worst_draws(before, y),
        worst_draws(after, y, goal),
        y,
        goal=goal,
        controls={
            name: (worst_draws(untouched, y), worst_draws(triggered, y, goal))
            for name, (untouched, triggered) in controls.items()
        },
    )
    return with_means(judged, classes_of(before), classes_of(after), lambda found: found == y)


def worst_draws(logits: Outputs, y: Integers, goal: Integers | Absent | None = None) -> Outputs:
    """Return the logits ``[N, K]`` of each input's worst draw: the first of those that are worst.

    A draw that reaches the goal is worse than one that is merely wrong, which is worse than one
    that is right.

    Args:
        logits: ``[D, N, K]``.
        y: classes ``[N]``.
        goal: target class of each input, if it has one.
    """
    classes = classes_of(logits)
    badness = (classes != y).astype(int)
    if isinstance(goal, np.ndarray):
        badness += (classes != y) & (classes == goal)
    return pick(logits, badness)


def classes_of(logits: Outputs) -> Integers:
    """Return the predicted classes ``[D, N]`` of each draw."""
    return np.stack([one_class.predicted_classes(draw) for draw in logits])


def pick(draws: NDArray[Scalar], badness: NDArray[np.generic]) -> NDArray[Scalar]:
    """Return each example from its worst draw.

    Args:
        draws: ``[D, N, …]``.
        badness: ``[D, N]``, larger is worse.
    """
    found: NDArray[Scalar] = draws[badness.argmax(axis=0), np.arange(draws.shape[1])]
    return found


def ranking(before: Outputs, after: Outputs, y: Integers) -> Judged:
    """Judge a random ranker; see ``ranking.ranking`` for figures and arguments.

    The decision about a comparison is that of the draw in which it speaks most against the label;
    AUC, F1 and the figures of attributes follow from these.

    Args:
        before: outputs per item ``[D, M, O]`` of D draws.
        after: under attack, as many draws.
        y: comparisons ``[n, arity + 2]``.

    Returns:
        Figures and bits of the worst draws; means as in ``classification``.
    """
    first, last = (np.stack([one_rank.decisions(d, y) for d in each]) for each in (before, after))
    label = y[:, -2]
    judged = one_rank.judge_decisions(
        worst_decisions(first, label), worst_decisions(last, label), y, before.shape[-1]
    )
    return with_means(judged, one_rank.signs(first), one_rank.signs(last), lambda s: s == label)


def worst_decisions(decisions: Floats, label: Integers) -> Floats:
    """Return the decision ``[n]`` of each comparison's worst draw, one that is not finite first.

    Args:
        decisions: ``[D, n]``.
        label: ±1 of each comparison.
    """
    against = np.where(np.isfinite(decisions), -decisions * label, np.inf)
    return np.asarray(pick(decisions, against))


def first_draw(outputs: NDArray[Scalar], dimensions: int) -> NDArray[Scalar]:
    """Return the outputs of the first of several draws, or outputs that are of one.

    Args:
        outputs: ``[D, …]`` of D draws, or ``[…]``.
        dimensions: number of dimensions of one draw.
    """
    found: NDArray[Scalar] = outputs[0] if outputs.ndim > dimensions else outputs
    return found


def with_means(
    judged: Judged, first: Integers, last: Integers, right: Callable[[Integers], Bits]
) -> Judged:
    """Return figures of worst draws with those of the mean.

    Args:
        judged: figures of the worst draws.
        first: predictions ``[D, N]`` before the attack.
        last: predictions under attack.
        right: function that says which predictions are right.
    """
    before, after = right(first), right(last)
    more: Metrics = {
        "clean_accuracy": mean_share(before),
        "accuracy_mean": mean_share(after),
        "robust_accuracy_mean": mean_share(before & after),
        "flip_rate": mean_share(first != last),
        DRAWS_DIFFER: mean_share(pairs_that_differ(first)),
    }
    return replace(judged, metrics=judged.metrics | more)


def pairs_that_differ(predictions: Integers) -> Bits:
    """Return where two draws differ, ``[P, N]`` for each of the P pairs of draws."""
    pairs = combinations(range(len(predictions)), 2)
    return np.stack([predictions[a] != predictions[b] for a, b in pairs])


class MapDraws(NamedTuple):
    """Class maps of several draws, judged.

    Attributes:
        worst: maps ``[N, H, W]``, of each image the draw with most wrong pixels.
        counts: their confusion matrices ``[N, K, K + 1]``.
        pooled: confusion matrices summed over draws; figures of them are means over draws.
    """

    worst: Maps
    counts: Counts
    pooled: Counts


def map_draws(draws: Maps, y: Maps, classes: int, void: int | None) -> MapDraws:
    """Judge class maps of one or several draws.

    Args:
        draws: predicted classes ``[D, N, H, W]``.
        y: labels ``[N, H, W]``.
        classes: number of classes K.
        void: label of the pixels that do not count, or ``None``.
    """
    counts = np.stack([confusion(each, y, classes, void) for each in draws])
    right = np.trace(counts[..., :-1], axis1=2, axis2=3)
    chosen = right.argmin(axis=0), np.arange(draws.shape[1])
    pooled = counts.sum(axis=0, dtype=counts.dtype)
    return MapDraws(draws[chosen], counts[chosen], pooled)


def map_means(before: MapDraws, after: MapDraws, clean: Maps) -> Metrics:
    """Return the figures over draws that stand beside those of the worst draws.

    Args:
        before: maps before the attack.
        after: maps under attack.
        clean: all draws of the maps before the attack, ``[D, N, H, W]``.
    """
    differ = float(np.mean([np.mean(a != b) for a, b in combinations(clean, 2)]))
    return {
        "miou_mean": segmentation(before.pooled, after.pooled).metrics["miou"],
        DRAWS_DIFFER: with_interval(differ, None, "bootstrap"),
    }


def describe(metrics: Metrics, draws: int) -> str:
    """Return the sentence that stands beside figures of a random network.

    Args:
        metrics: its figures.
        draws: number of its draws.
    """
    spread = metrics[DRAWS_DIFFER]
    share = f"{spread.value:.1%}" if isinstance(spread, Rate) else "none"
    return (
        f"the network is random: under attack the worst of {draws} draws counts, clean accuracy is "
        f"their mean; two draws differ on {share} of the clean predictions; whether answers depend "
        "on the batch cannot be compared"
    )
