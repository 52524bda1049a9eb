"""DeepFool (Moosavi-Dezfooli, Fawzi and Frossard, CVPR 2016), algorithm 2, in L2 and in L∞."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import like_rows, steepest
from harness.runtime.problem import Problem

LEAST_STEP = 1e-4
"""Length that a step has at least: on the boundary itself the linearised one is at distance 0."""


class DeepFool:
    """Steps onto the nearest linearised boundary until the class changes.

    Args:
        steps: most steps of a row, each one forward pass and a backward pass for each wrong class.
        candidates: most classes of largest clean logits that are looked at, the true one among
            them.
        overshoot: share of the change that is added to it, so that it ends beyond the boundary.
    """

    def __init__(self, *, steps: int, candidates: int, overshoot: float) -> None:
        self.steps, self.candidates, self.overshoot = steps, candidates, overshoot

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        assert budget.norm is not None  # as the manifest requires
        problem = Problem(model, y, goal)
        clean = problem.predict(x)
        classes = torch.stack(problem.nearest_classes(clean, self.candidates - 1), dim=1)
        x_adv, change = x.clone(), torch.zeros_like(x)
        rows = problem.active(clean).nonzero().flatten()
        for _ in range(self.steps):
            if len(rows) == 0:
                break
            part = problem.rows(rows)
            logits, step = linearize(part, x_adv[rows], classes[rows], budget.norm)
            left = ~part.done(logits)
            rows = rows[left]
            change[rows] += step[left]
            # what the box cuts off stays in `change`, so that the next step adds to it
            x_adv[rows] = (x[rows] + (1 + self.overshoot) * change[rows]).clamp(0, 1)
        right = problem.active(problem.predict(x_adv))
        return torch.where(like_rows(right, x), x, x_adv)


def linearize(problem: Problem, x_adv: Tensor, classes: Tensor, norm: str) -> tuple[Tensor, Tensor]:
    """Return the shortest step that ends on the linearised boundary to one of the classes.

    With a gap f and its gradient w, the step has the length |f| / ‖w‖₂ along w in L2 (the paper's
    algorithm 2), and |f| / ‖w‖₁ along the sign of w in L∞ (section 3.3). A class whose gradient is
    zero has no boundary.

    Args:
        problem: rows that are not as the attacker wants them.
        x_adv: their present inputs, ``[B, …]``.
        classes: classes to look at, int64 ``[B, C]``; with a goal, the goal alone.
        norm: ``linf`` or ``l2``.

    Returns:
        Logits of ``x_adv``, ``[B, K]``; and steps, shaped as ``x_adv``.
    """
    x_adv = x_adv.detach().requires_grad_()
    with torch.enable_grad():
        logits = problem.model.module(x_adv)
        if problem.targeted:
            gaps = problem.margin(logits)[:, None]
        else:
            gaps = logits.gather(1, classes) - logits.gather(1, problem.y[:, None])
    shortest = torch.full(problem.y.shape, torch.inf, dtype=torch.float64, device=x_adv.device)
    nearest = torch.zeros_like(x_adv)
    last = gaps.shape[1] - 1
    for number in range(last + 1):
        gap = gaps[:, number]
        (gradient,) = torch.autograd.grad(gap.sum(), x_adv, retain_graph=number < last)
        direction = steepest(gradient, norm)
        slope = (gradient.double() * direction.double()).flatten(1).sum(dim=1)
        length = gap.detach().double().abs() / slope
        nearer = length < shortest  # not where the slope is zero, or anything is NaN
        shortest = torch.where(nearer, length, shortest)
        nearest = torch.where(like_rows(nearer, x_adv), direction, nearest)
    length = shortest.clamp_min(LEAST_STEP).nan_to_num(0, posinf=0).to(x_adv.dtype)
    return logits.detach(), nearest * like_rows(length, x_adv)
