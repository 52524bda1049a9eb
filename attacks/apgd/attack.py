"""Auto-PGD: momentum and a step that halves by itself; the engine of AutoAttack and of SEA."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.runtime import dense
from harness.runtime.class_weights import class_weights
from harness.runtime.contracts import Budget, Context, Data, Model, NotApplicable
from harness.runtime.gradients import ball, project, random_start

RADII = ((2.0, 0.3), (1.5, 0.3), (1.0, 0.4))
"""Radius, in the budget's, and share of the steps (Croce et al., ECCV 2024)."""

CHECK_FIRST, CHECK_SHORTER, CHECK_LEAST = 0.22, 0.03, 0.06
"""Steps until the first check, how much shorter each later interval is, and the least, in steps."""

RISING = 0.75
"""The step stays where the loss rose in more than this share of an interval."""


class View(NamedTuple):
    """One pass: the loss to raise ``[B]``, its gradient, and labels that are not yet as wanted."""

    loss: Tensor
    gradient: Tensor
    open: Tensor


Look = Callable[[Tensor], View]


class APGD:
    """Keeps, of each example, the input on which most labels are as wanted; in L∞.

    Args:
        steps: gradient steps. objective: a row of ``dense.LOSSES``.
        balanced: weigh pixels by 1 / N of their class. shrinking: begin with larger radii.
    """

    def __init__(self, *, steps: int, objective: str, balanced: bool, shrinking: bool) -> None:
        self.steps, self.loss = steps, dense.LOSSES[objective]
        self.balanced, self.radii = balanced, RADII if shrinking else ((1.0, 1.0),)

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Weights of the classes, mean 1; nothing where they are not asked for."""
        if self.balanced:
            weights = class_weights("inverse", train.y, train.spec.outputs)
            save_file({"weights": weights / weights.mean()}, ctx.state / "classes.safetensors")

    def perturb(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        norm, eps = ball(budget)
        if norm != "linf":
            raise NotApplicable("APGD is written for linf here")
        if goal is not None and self.loss is dense.masked_cross_entropy:
            raise NotApplicable("masked-ce counts pixels that are still right: it has no target")
        weights = None
        if self.balanced:
            weights = load_file(ctx.state / "classes.safetensors")["weights"].to(ctx.device)
        look = self.looker(model, y, goal, weights)
        at = random_start(x, norm, eps * self.radii[0][0], ctx.generator("start"))
        for factor, share in self.radii:
            steps = max(1, round(share * self.steps))
            start = project(at, x, norm, eps * factor)
            at = search(look, start, x, eps * factor, steps)
        return at

    def looker(self, model: Model, y: Tensor, goal: Tensor | None, weights: Tensor | None) -> Look:
        """``look(x)``: one forward and one backward pass."""
        labels = y if goal is None else goal
        labelled = labels != dense.VOID
        mass = 1 if weights is None else weights[labels.long() * labelled]

        def look(x: Tensor) -> View:
            at = x.detach().requires_grad_()
            with torch.enable_grad():
                logits = model.module(at)
                loss = dense.mean(mass * dense.values(self.loss, logits, labels), labels)
                loss = loss if goal is None else -loss
                (gradient,) = torch.autograd.grad(loss.sum(), at)
            hit = logits.detach().argmax(dim=1) == labels
            unwanted = (hit if goal is None else ~hit) & labelled
            return View(loss.detach(), gradient, unwanted.reshape(len(x), -1).sum(1))

        return look


def search(look: Look, at: Tensor, x: Tensor, eps: float, steps: int) -> Tensor:
    """Algorithm 1 of the paper, each example by itself; ``found`` is where least is open."""
    now, before = look(at), at
    found, left = at, now.open
    best, best_at = now, at  # by loss: where an example goes back to
    stride = torch.full_like(now.loss, 2 * eps)
    rises, checked, halved = torch.zeros_like(now.loss), now.loss, torch.ones_like(left, dtype=bool)
    interval, since = max(int(CHECK_FIRST * steps), 1), 0
    for number in range(steps):
        if not bool(left.any()):
            break
        ahead = project(at + rows(stride, x) * now.gradient.sign(), x, "linf", eps)
        if number:
            ahead = project(at + 0.75 * (ahead - at) + 0.25 * (at - before), x, "linf", eps)
        before, at, last = at, ahead, now.loss
        now = look(at)
        found, left = keep(now.open < left, (at, found), (now.open, left))
        better = now.loss > best.loss
        best_at, *values = keep(better, (at, best_at), *zip(now, best, strict=True))
        best = View(*values)
        rises, since = rises + (now.loss > last), since + 1
        if since == interval:
            stuck = rises <= RISING * interval
            halved = stuck | (~halved & (best.loss <= checked))
            stride = torch.where(halved, stride / 2, stride)
            at, gradient = keep(halved, (best_at, at), (best.gradient, now.gradient))
            now = now._replace(gradient=gradient)
            rises, checked, since = torch.zeros_like(rises), best.loss, 0
            shorter = interval - max(int(CHECK_SHORTER * steps), 1)
            interval = max(shorter, max(int(CHECK_LEAST * steps), 1))
    return found


def keep(which: Tensor, *pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Of each pair, the first where ``which`` ``[B]`` holds, else the second."""
    return [torch.where(rows(which, one), one, other) for one, other in pairs]


def rows(values: Tensor, like: Tensor) -> Tensor:
    """``[B]`` in a shape that spreads over ``[B, …]``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
