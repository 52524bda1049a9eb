"""Flags: warnings about suspicious results that break no rule.

A flag is shown beside a number and changes no score. All thresholds are in this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.judge.classification import BACKDOOR_CONTROLS
from harness.judge.draw_comparison import LEVEL, DrawDifference, describe_difference
from harness.judge.draws import DRAWS_DIFFER
from harness.judge.traits import CLASSIFICATION, CLEAN, RANKING, SEGMENTATION
from harness.judge.values import Judged, Rate

POINTS = 0.02
"""Smallest difference of rates that is flagged (2 points)."""

COLLAPSED = 0.05
"""Smallest distance above chance of a clean score that shows that a network has learnt."""

DIFFERENT = 0.01
"""Share of predictions that may differ between two runs of one network. Attacked inputs lie on the
decision boundary, where the rounding of another batch size flips a few of them."""

DEPENDENT = 0.01
"""Share of predictions of a sample that may depend on what else is in the batch."""

RELATIVE = 1e-3
"""Part of the outputs' spread by which rounding in another batch may move an output."""

NOT_FINITE = {
    CLASSIFICATION: "examples",
    RANKING: "comparisons",
    SEGMENTATION: "pixels",
}
"""Task → what ``Judged.nonfinite`` counts."""

CONTROLS = ("noop", "random_noise")
"""Attacks whose success is expected to equal the control's."""

MOVED = 0.02
"""Part of the outputs' spread by which they may differ between two runs of one network: other
kernels compute them while gradients are kept."""

EXCESS = {"predictions": 0.01, "outputs": 0.005}
"""What is compared over draws → how much further apart draws of an attack and of the judge may be
than those of one of them.

On 500 digits, honest noise of 0.01 to 0.3 on inputs or logits, and dropout, stay below 0.007 and
0.002 (10 runs each); noise ten times as large under attack reaches 0.03 and 0.024 from 0.01, 0.15
and 0.12 from 0.05; noise of 0.05 under attack alone 0.016 and 0.016. What is drawn for a whole
batch varies more, 0.045 for a random resize: there the test over whole draws decides, which flagged
none of 400 runs of it, and 3 of 400 of a network that answers nonsense to half of its batches."""

LOST = 0.01
"""Share of the gradients that an attack asks for that may be zero or not finite."""

SLACK = 1e-9  # 0.52 − 0.50 is above 0.02 in floating point


class Flag(NamedTuple):
    """A warning; ``_asdict()`` is its JSON form.

    Attributes:
        name: key for filters.
        text: sentence for readers.
    """

    name: str
    text: str


def chance(task: str, outputs: int) -> float:
    """Return the score of random guessing: 1/2 for comparisons, else 1/K for K classes.

    A constant class map reaches at most 1/K mIoU, so the same bound serves segmentation.

    >>> chance("classification", 10)
    0.1
    """
    return 0.5 if task == RANKING else 1 / outputs


def disagreement(
    a: NDArray[np.generic], b: NDArray[np.generic], task: str, relative: float = RELATIVE
) -> float | None:
    """Compute the share of predictions that differ between two stored outputs of one network.

    Args:
        a: classification logits ``[N, K]`` (rows), segmentation class maps ``[N, H, W]`` (pixels),
            or ranking outputs ``[M, D]`` (items whose outputs differ by more than ``relative`` of
            their spread).
        b: the same of the other run.
        task: ``classification``, ``segmentation`` or ``ranking``.
        relative: part of the spread.

    Returns:
        A fraction, or ``None`` where there is nothing to compare. A logit or output that is not
        finite equals only another that is not.

    >>> disagreement(np.eye(2), np.eye(2)[[0, 0]], "classification")
    0.5
    """
    if a.shape != b.shape:
        raise ValueError(f"outputs of different shapes: {a.shape} and {b.shape}")
    if a.size == 0:
        return None
    if task == SEGMENTATION:
        return float(np.mean(a != b))
    first, second = a.astype(np.float64), b.astype(np.float64)
    sound, sound_too = np.isfinite(first).all(axis=1), np.isfinite(second).all(axis=1)
    if task == RANKING:
        differ = _far_apart(first, second, first[sound], relative)
    else:
        differ = first.argmax(axis=1) != second.argmax(axis=1)
    return float(np.mean(np.where(sound & sound_too, differ, sound != sound_too)))


def batch_dependence(
    outputs: NDArray[np.generic],
    rebatched: NDArray[np.generic],
    rows: NDArray[np.int64],
    task: str,
) -> float | None:
    """Compute the share of predictions that depend on what else is in the batch.

    Args:
        outputs: stored outputs of a network, as in ``disagreement``.
        rebatched: its outputs on some of the inputs, in other batches and another order.
        rows: int64 ``[R]``, numbers of these inputs.
        task: ``classification``, ``segmentation`` or ``ranking``.

    Returns:
        A fraction of pixels in segmentation, else of rows with another class, or an output that
        moves by more than ``RELATIVE`` of the spread of all outputs.

    >>> outputs = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> batch_dependence(outputs, np.array([[0.99, 0.0], [0.0, 1.0]]), np.array([1, 0]), RANKING)
    0.5
    """
    # the classes of clean inputs seldom change, where attacked ones would
    return _changed_answers(outputs[rows], rebatched, task, RELATIVE)


def difference(shown: NDArray[np.generic], outputs: NDArray[np.generic], task: str) -> float | None:
    """Compute the share of answers to an attack that the same network did not give later.

    Args:
        shown: stored outputs to the attacked inputs, as the attack could see them.
        outputs: the network's outputs to the same inputs afterwards.
        task: ``classification``, ``segmentation`` or ``ranking``.

    Returns:
        A fraction of pixels in segmentation, else of rows with another class, or an output that
        moves by more than ``MOVED`` of the spread of all outputs. An answer may hide how near it
        is to another class, and an attack is lost that looks at nothing else.

    >>> logits = np.array([[0.0, 1.0], [0.9, 1.0]])
    >>> difference(np.array([[0.0, 1.0], [0.0, 1.0]]), logits, CLASSIFICATION)
    0.5
    """
    return _changed_answers(shown, outputs, task, MOVED)


def _changed_answers(
    first: NDArray[np.generic], second: NDArray[np.generic], task: str, relative: float
) -> float | None:
    share = disagreement(first, second, task)
    if task != CLASSIFICATION or share is None:
        return share
    return max(share, disagreement(first, second, RANKING, relative) or 0.0)


def _far_apart(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    spread: NDArray[np.float64],
    relative: float,
) -> NDArray[np.bool_]:
    """Return which rows differ by more than ``relative`` of the range of ``spread``."""
    most = relative * float(np.ptp(spread)) if spread.size else 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(first - second) > most).any(axis=1))


def record_flags(
    judged: Judged,
    *,
    task: str,
    outputs: int,
    attack: str,
    different: float | Sequence[DrawDifference] | None = None,
    dependent: float | None = None,
    repeated: float | None = None,
    lost: float | None = None,
) -> list[Flag]:
    """Return the flags of one cell.

    Args:
        judged: its figures.
        task: its task.
        outputs: classes, or scores per item.
        attack: the attack *module's* name (``noop`` whatever its row is called).
        different: share of predictions that differ between the outputs the attack stage stored
            and ``predict``'s on the same inputs; of a random network, the differences of the two
            sets of draws; ``None`` where one is missing.
        dependent: share of a sample's predictions that depend on the batch; ``None`` where the
            network is declared random, or where there is no sample.
        repeated: share of the sample's predictions that change when the same batch is asked again;
            ``None`` as above.
        lost: share of the gradients asked for that were zero or not finite; ``None`` if none were.
    """
    flags = (
        _clean_collapsed(judged, task, outputs),
        _noop_differs(judged, attack),
        _control_same(judged, attack),
        _nonfinite_outputs(judged, task),
        _undeclared_random(repeated),
        _batch_dependent(dependent, repeated or 0.0),
        _different_under_attack(different),
        _lost_gradients(lost),
    )
    return [flag for flag in flags if flag is not None]


def _clean_collapsed(judged: Judged, task: str, outputs: int) -> Flag | None:
    clean, floor = judged.metrics.get(CLEAN[task]), chance(task, outputs)
    if not isinstance(clean, Rate) or clean.value > floor + COLLAPSED + SLACK:
        return None
    return Flag(
        "clean_collapsed",
        f"the clean score is {clean.value:.1%}, within {COLLAPSED * 100:.0f} points of chance "
        f"({floor:.1%}): the network has learnt next to nothing, so robustness means nothing",
    )


def _noop_differs(judged: Judged, attack: str) -> Flag | None:
    flipped, spread = judged.metrics.get("flip_rate"), judged.metrics.get(DRAWS_DIFFER)
    # two predictions of a random network may differ as much as its draws do
    allowed = spread.value + DIFFERENT if isinstance(spread, Rate) else 0
    if attack != "noop" or not isinstance(flipped, Rate) or flipped.value <= allowed:
        return None
    return Flag(
        "noop_differs",
        f"nothing was attacked, yet {flipped.value:.1%} of the predictions changed: "
        "the pipeline or the defence is not deterministic",
    )


def _control_same(judged: Judged, attack: str) -> Flag | None:
    success = judged.metrics.get("attack_success_rate")
    # Where nothing succeeded there is no success to doubt.
    if attack in CONTROLS or not isinstance(success, Rate) or success.value == 0:
        return None
    for name, what in BACKDOOR_CONTROLS.items():
        control = judged.metrics.get(f"{name}_success_rate")
        if isinstance(control, Rate) and _no_more(success, control):
            return Flag(
                "control_same",
                f"success is {success.value:.1%}, and {control.value:.1%} for {what}: it cannot be "
                "credited to the attack",
            )
    return None


def _no_more(success: Rate, control: Rate) -> bool:
    """Return whether a success is not clearly above that on a control."""
    near = control.value + POINTS + SLACK >= success.value
    overlap = control.hi is not None and success.lo is not None and control.hi >= success.lo
    return near or overlap


def _nonfinite_outputs(judged: Judged, task: str) -> Flag | None:
    if not judged.nonfinite:
        return None
    counts = " and ".join(f"{count} {when} the attack" for when, count in judged.nonfinite.items())
    return Flag(
        "nonfinite_outputs",
        f"{NOT_FINITE[task]} with outputs that are not finite count as wrong: {counts}",
    )


def _batch_dependent(share: float | None, repeated: float) -> Flag | None:
    # what changes as often in the same batch, the batch does not explain
    if share is None or share <= DEPENDENT + 2 * repeated:
        return None
    return Flag(
        "batch_dependent",
        f"{share:.1%} of a sample's predictions change with the other inputs of the batch: an "
        "example's result depends on its neighbours, so figures depend on batch size and order",
    )


def _undeclared_random(share: float | None) -> Flag | None:
    if share is None or share <= DEPENDENT:
        return None
    return Flag(
        "undeclared_random",
        f"{share:.1%} of a sample's predictions change when the same inputs are asked again: a "
        "defence that draws must declare random: true, so that attacks see the mean over draws",
    )


def _different_under_attack(found: float | Sequence[DrawDifference] | None) -> Flag | None:
    if isinstance(found, Sequence):
        text = "; ".join(describe_difference(one) for one in found if differs(one))
    elif found is not None and found > DIFFERENT:
        text = (
            f"{found:.1%} of the answers to the final inputs differ from those the attack was given"
        )
    else:
        return None
    ending = "the defence answers differently while it is being attacked"
    return Flag("different_under_attack", f"{text}: {ending}") if text else None


def differs(found: DrawDifference) -> bool:
    """Return whether two sets of draws differ by more than draws explain."""
    return found.p <= LEVEL and found.excess > EXCESS[found.name]


def _lost_gradients(share: float | None) -> Flag | None:
    if share is None or share <= LOST:
        return None
    return Flag(
        "lost_gradients",
        f"{share:.1%} of the gradients that the attack asked for were zero or not finite in the "
        "network: the attack was blind there, so its failure shows no robustness",
    )
