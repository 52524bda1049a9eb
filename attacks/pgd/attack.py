"""Projected gradient descent: steps along the loss's gradient, projected onto the budget's ball."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Model, NotApplicable
from harness.runtime.gradients import Ball, ball, project, random_start, steepest

MARGIN = 1e-4
"""How far over the border, in logits, an example has to be before it is left alone: in a batch of
another size sums round otherwise, and that must not undo a success."""


Weighting = Callable[[Tensor, Tensor, float, bool], Tensor]
"""``weighting(logits, y, part, targeted) -> [B, H, W]``; ``part`` of the search is done."""


class View(NamedTuple):
    """What one forward pass tells of each row: the value to raise, and whether it is fooled."""

    value: Tensor
    fooled: Tensor


class Found(NamedTuple):
    """Where a search ended, and the view from there."""

    x: Tensor
    view: View


class PGD:
    """Raises the task's loss on the labels, or lowers it on the goal.

    A fooled example drops out of the batch at once. In segmentation no example is ever done.

    Args:
        steps: gradient steps a restart.
        path: length of all steps of one restart together, in radii.
        restarts: searches from different starts; an example keeps its best.
        random_start: start anywhere in the ball, else at the clean input.
        weighting: which pixels count for how much: ``none`` (all the same), ``segpgd``, ``cospgd``.
    """

    def __init__(
        self, *, steps: int, path: float, restarts: int, random_start: bool, weighting: str
    ) -> None:
        self.steps, self.path = steps, path
        self.restarts, self.random_start = restarts, random_start
        self.weigh = WEIGHTINGS[weighting]

    def perturb(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        region, labels = ball(budget), y if goal is None else goal
        if self.weigh is not None and model.spec.task != "segmentation":
            raise NotApplicable("a weighting of pixels means nothing for one label an example")

        def look(at: Tensor, rows: Tensor, part: float) -> View:
            if self.weigh is not None:
                return weighted(model, at, labels[rows], self.weigh, part, goal is not None)
            return view(model, at, labels[rows], targeted=goal is not None)

        best, height = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        rows = torch.arange(len(x), device=x.device)
        for restart in range(self.restarts):
            start = x
            if self.random_start:
                # drawn for all rows, so that none depends on the others' success
                start = random_start(x, *region, ctx.generator("start", restart))
            found = self.search(look, start[rows], x[rows], rows, region)
            better = found.view.fooled | (found.view.value > height[rows])
            best[rows[better]] = found.x[better]
            height[rows[better]] = found.view.value[better]
            rows = rows[~found.view.fooled]
            if len(rows) == 0:
                break
        return best

    def search(
        self,
        look: Callable[[Tensor, Tensor, float], View],
        at: Tensor,
        x: Tensor,
        rows: Tensor,
        region: Ball,
    ) -> Found:
        """One restart from ``at``; a row's search ends where it is fooled.

        The view of rows that were never looked at after their last step is zero and not fooled.
        """
        norm, eps = region
        stride = self.path / self.steps * eps
        found, value = at.clone(), torch.zeros(len(x), device=x.device)
        done = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        open_ = torch.arange(len(x), device=x.device)
        for step in range(self.steps + 1):
            if step == self.steps and self.restarts == 1:
                break  # there is nothing to compare the last point with
            at = at.detach().requires_grad_()
            with torch.enable_grad():
                now = look(at, rows, step / self.steps)
            keep = ~now.fooled
            shrinks = not bool(keep.all())
            if shrinks or step == self.steps:
                found[open_], value[open_], done[open_] = at.detach(), now.value.detach(), ~keep
            if step == self.steps or not bool(keep.any()):
                return Found(found, View(value, done))
            (gradient,) = torch.autograd.grad(now.value.sum(), at)
            at = at.detach() + stride * steepest(gradient, norm)
            if shrinks:
                open_, rows, at, x = open_[keep], rows[keep], at[keep], x[keep]
            at = project(at, x, norm, eps)
        found[open_] = at
        return Found(found, View(value, done))


def view(model: Model, x: Tensor, labels: Tensor, *, targeted: bool) -> View:
    """One forward pass; in classification it gives the loss and the prediction."""
    sign = -1 if targeted else 1
    if model.spec.task != "classification":
        never = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return View(sign * model.loss(x, labels), never)
    logits = model.module(x)
    loss = F.cross_entropy(logits, labels, reduction="none")
    scores = logits.detach()
    own = scores.gather(1, labels[:, None]).squeeze(1)
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return View(sign * loss, sign * (others - own) > MARGIN)


def weighted(
    model: Model, x: Tensor, labels: Tensor, weigh: Weighting, part: float, targeted: bool
) -> View:
    """The same for segmentation, with weights for pixels; no gradient goes through them."""
    logits = model.module(x)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        weights = weigh(logits.detach(), y, part, targeted)
        return weights * dense.cross_entropy(logits, y)

    value = dense.mean(dense.values(loss, logits, labels), labels)
    never = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    return View(-value if targeted else value, never)


def segpgd(logits: Tensor, y: Tensor, part: float, targeted: bool) -> Tensor:
    """Gu et al., ECCV 2022: λ = t/2n on pixels that are where they shall go, 1 − λ on others."""
    there = (logits.argmax(dim=1) == y) == targeted
    return torch.where(there, part / 2, 1 - part / 2)


def cospgd(logits: Tensor, y: Tensor, part: float, targeted: bool) -> Tensor:
    """Agnihotri et al., ICML 2024: cos(softmax, one-hot label), or 1 − that to a target."""
    weight = dense.cosine(logits, y)
    return 1 - weight if targeted else weight


WEIGHTINGS: dict[str, Weighting | None] = {"none": None, "segpgd": segpgd, "cospgd": cospgd}
