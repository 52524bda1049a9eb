"""Algorithm 1 of Auto-PGD: steps with momentum, halved where the loss has stopped rising."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime.gradients import Ball, like_rows, project, steepest
from harness.runtime.problem import Problem

P1, LEAST_DECREASE, LEAST_INTERVAL = 0.22, 0.03, 0.06
"""First checkpoint, decrease of the next interval, and shortest one, as shares of the steps."""

RHO = 0.75
"""Share of an interval's steps in which the loss must rise, or the step is halved (condition 1)."""

ALPHA = 0.75
"""Weight of the new step; the rest is momentum."""


class Point(NamedTuple):
    """Values of a problem at some inputs.

    Attributes:
        loss: loss to raise, ``[B]``.
        gradient: its gradient, ``[B, …]``.
        active: number of labels that are not yet as the attacker wants them, ``[B]``.
    """

    loss: Tensor
    gradient: Tensor
    active: Tensor


def ascend(
    problem: Problem, x_adv: Tensor, x: Tensor, region: Ball, steps: int
) -> tuple[Tensor, Tensor]:
    """Run algorithm 1 of the paper from ``x_adv``.

    Returns:
        Each example's input with the fewest active labels, ``[B, …]``, and their number, ``[B]``.
    """
    norm, eps = region
    point, previous = evaluate(problem, x_adv), x_adv
    found, fewest = x_adv, point.active
    best, x_best = point, x_adv  # by loss: where an example restarts from
    step_size = x.new_full((len(x),), 2.0)  # in radii
    rises, loss_before = torch.zeros_like(point.loss), point.loss
    halved = torch.ones_like(fewest, dtype=torch.bool)
    interval, since = max(int(P1 * steps), 1), 0
    for number in range(steps):
        if not bool(fewest.any()):
            break
        # a gradient step, with momentum from the second step on
        step = like_rows(step_size, x) * eps * steepest(point.gradient, norm)
        z = project(x_adv + step, x, norm, eps)
        if number:
            momentum = (1 - ALPHA) * (x_adv - previous)
            z = project(x_adv + ALPHA * (z - x_adv) + momentum, x, norm, eps)
        previous, x_adv, last_loss = x_adv, z, point.loss
        point = evaluate(problem, x_adv)
        fewer = point.active < fewest
        found, fewest = where(fewer, (x_adv, found), (point.active, fewest))
        better = point.loss > best.loss
        x_best, *values = where(better, (x_adv, x_best), *zip(point, best, strict=True))
        best = Point(*values)
        rises, since = rises + (point.loss > last_loss), since + 1
        if since == interval:
            # checkpoint: halve where the loss rose too rarely (condition 1), or where neither the
            # step size nor the best loss has changed since the last one (condition 2)
            stuck = rises <= RHO * interval
            halved = stuck | (~halved & (best.loss <= loss_before))
            step_size = torch.where(halved, step_size / 2, step_size)
            pairs = (x_best, x_adv), (best.gradient, point.gradient)
            x_adv, gradient = where(halved, *pairs)
            point = point._replace(gradient=gradient)
            rises, loss_before, since = torch.zeros_like(rises), best.loss, 0
            shorter = interval - max(int(LEAST_DECREASE * steps), 1)
            interval = max(shorter, max(int(LEAST_INTERVAL * steps), 1))
    return found, fewest


def evaluate(problem: Problem, x_adv: Tensor) -> Point:
    """Evaluate the problem by one forward and one backward pass."""
    now = problem.evaluate(x_adv)
    active = problem.active(now.logits).reshape(len(x_adv), -1).sum(1)
    return Point(now.loss.detach(), now.gradient(), active)


def where(condition: Tensor, *pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Apply ``torch.where`` with a condition ``[B]`` to each pair of ``[B, …]``."""
    return [torch.where(like_rows(condition, one), one, other) for one, other in pairs]
