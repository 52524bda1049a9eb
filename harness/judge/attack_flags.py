"""Flags that compare figures of several attacks, or of one under several budgets."""

from __future__ import annotations

from collections.abc import Sequence

from harness.judge.flags import POINTS, SLACK, Flag

SHARE = 0.8
"""Least share of the success of the same attack with another loss that is no sign of a poor one."""


def success_falls_with_budget(points: Sequence[tuple[float, float]]) -> Flag | None:
    """Flag an attack whose success falls with the budget: a larger budget contains the smaller.

    Args:
        points: (eps, success) of one attack on one network, in any order; success grows with the
            damage (for scores that fall, pass one minus the score).

    >>> success_falls_with_budget([(4, 0.5), (8, 0.4)]).name
    'success_falls_with_budget'
    """
    best = None
    for eps, success in sorted(points):
        if best is not None and success < best[1] - POINTS - SLACK:
            return Flag(
                "success_falls_with_budget",
                f"success falls from {best[1]:.1%} at eps {best[0]:.4g} to {success:.1%} at eps "
                f"{eps:.4g}: the attack is held up by something other than robustness",
            )
        if best is None or success > best[1]:
            best = (eps, success)
    return None


def query_beats_whitebox(*, query: float, whitebox: float) -> Flag | None:
    """Flag a query attack that beats all white-box attacks: a sign of masked gradients.

    Args:
        query: success of the best query attack.
        whitebox: of the best white-box attack, at the same budget on the same network.

    >>> query_beats_whitebox(query=0.5, whitebox=0.49) is None
    True
    """
    if query <= whitebox + POINTS + SLACK:
        return None
    return Flag(
        "query_beats_whitebox",
        f"an attack that only asks succeeds on {query:.1%}, the best that sees gradients on "
        f"{whitebox:.1%}: the gradients are masked",
    )


def another_loss_does_better(*, success: float, other: float, name: str) -> Flag | None:
    """Flag an attack that the same attack with another loss exceeds by far, in as many steps.

    Where cross entropy is flat or its gradient misleads, attacks that follow it fail without any
    robustness behind it. (RSL18a's network on MNIST at 0.1: Auto-PGD succeeds on 7.7 % by cross
    entropy and on 10.6 % by the difference of logits ratio. On three small networks for CIFAR-10,
    cross entropy misses 8 to 12 % of the success, on a fourth 37 %.)

    Args:
        success: its success.
        other: success of the other.
        name: label of the other.

    >>> another_loss_does_better(success=0.077, other=0.106, name="apgd/dlr").name
    'another_loss_does_better'
    >>> another_loss_does_better(success=0.60, other=0.63, name="apgd/dlr") is None
    True
    """
    if other <= success + POINTS + SLACK or success >= SHARE * other:
        return None
    return Flag(
        "another_loss_does_better",
        f"{name}, the same attack with another loss and as many steps a search, succeeds on "
        f"{other:.1%}, this one on {success:.1%}: its loss is flat or misleading here, as where "
        "gradients are masked",
    )


def not_converged(*, steps: float, twice: float) -> Flag | None:
    """Flag an attack whose success still rises with twice the steps.

    Args:
        steps: its success.
        twice: its success with twice the steps.

    >>> not_converged(steps=0.40, twice=0.45).name
    'not_converged'
    """
    if twice <= steps + POINTS + SLACK:
        return None
    return Flag(
        "not_converged",
        f"twice the steps raise success from {steps:.1%} to {twice:.1%}: "
        "the attack has not converged",
    )
