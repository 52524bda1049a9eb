"""FMN, the Fast Minimum-Norm attack (Pintor et al., NeurIPS 2021), algorithm 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model
from harness.runtime.gradients import like_rows, steepest
from harness.runtime.nearest import Nearest
from harness.runtime.problem import Evaluation, Problem, lead_of_others

from .norms import dual_lengths, lengths, onto_sphere, project

LAST_ALPHA = 0.01
"""Length of the last step, as a share of the first one's."""


class FMN:
    """Climbs the margin inside a ball around the clean input whose radius adapts.

    Args:
        steps: steps of the search.
        alpha_l2: Euclidean length of the first step when L2 distances are asked for; the last is a
            hundredth of it.
        alpha_linf: the same when L∞ distances are asked for.
        gamma_init: share by which the radius changes in the first step.
        gamma_final: share by which it changes in the last.
        paper: whether to play algorithm 1 to the letter. Otherwise the radius grows by its share
            before the first success as well, and in L2 a change is lengthened to the radius, too.
    """

    def __init__(
        self,
        *,
        steps: int,
        alpha_l2: float,
        alpha_linf: float,
        gamma_init: float,
        gamma_final: float,
        paper: bool,
    ) -> None:
        self.steps, self.alpha = steps, {"l2": alpha_l2, "linf": alpha_linf}
        self.gamma_init, self.gamma_final, self.paper = gamma_init, gamma_final, paper

    def perturb(
        self, model: Model, x: Tensor, y: Tensor, goal: Tensor | None, budget: Budget, ctx: Context
    ) -> Tensor:
        norm = budget.norm
        assert norm is not None  # as the manifest requires
        problem = Problem(model, y, goal, loss_fn=lead_of_others)
        nearest = Nearest(x)
        # no change inside the box is longer
        longest = lengths(torch.maximum(x, 1 - x), norm)
        x_adv, radius = x, torch.zeros_like(longest)
        for step in range(self.steps):
            alpha = anneal(self.alpha[norm], self.alpha[norm] * LAST_ALPHA, step / self.steps)
            gamma = anneal(self.gamma_init, self.gamma_final, step / self.steps)
            evaluation = problem.evaluate(x_adv)
            wrong, size = ~problem.active(evaluation.logits), lengths(x_adv - x, norm)
            nearest.keep(x_adv, size, wrong)
            to_boundary, gradient = linearize(evaluation, norm)
            # estimates may all fall short, so that the search would end before the boundary
            guess, grown = size + to_boundary, radius * (1 + gamma)
            guess = guess if self.paper else torch.maximum(guess, grown)
            grown = torch.where(nearest.lengths.isfinite(), grown, guess)
            shrunk = torch.minimum(radius * (1 - gamma), nearest.lengths)
            radius = torch.minimum(torch.where(wrong, shrunk, grown), longest)
            moved = x_adv - x + alpha * steepest(gradient, "l2")
            short = self.paper or norm == "linf"
            kept = project(moved, radius, norm) if short else onto_sphere(moved, radius)
            x_adv = (x + kept).clamp(0, 1)
        nearest.keep(x_adv, lengths(x_adv - x, norm), ~problem.active(problem.predict(x_adv)))
        return nearest.inputs


def linearize(evaluation: Evaluation, norm: str) -> tuple[Tensor, Tensor]:
    """Return each row's distance to the linearised boundary, and the margin's gradient.

    Both come from the margin and its gradient over the gradient's largest magnitude, so that the
    scale of the logits has no effect. Without a gradient the distance is beyond any box.

    Returns:
        Distance ``[B]``, in the norm; gradient of largest magnitude 1, shaped as the inputs.
    """
    gradient = evaluation.gradient().nan_to_num(0, 0, 0)
    scale = gradient.flatten(1).abs().amax(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    gradient = gradient / like_rows(scale, gradient)
    gap = (evaluation.loss.detach().abs() / scale).nan_to_num(torch.inf)
    return gap / dual_lengths(gradient, norm).clamp_min(1), gradient


def anneal(first: float, last: float, share: float) -> float:
    """Return the value at a share of the way from first to last, along half a cosine wave.

    >>> anneal(1.0, 0.0, 0.0), anneal(1.0, 0.0, 0.5)
    (1.0, 0.5)
    """
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
