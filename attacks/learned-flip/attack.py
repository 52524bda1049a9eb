"""Learned label flips by sample masking or thresholding (Xu et al., TPAMI 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Budget, Context, Data, Edits, Model
from harness.runtime.ranking import count_by_attribute, label_flips, smallest
from harness.runtime.recipe import Recipe, steps_per_epoch
from harness.runtime.training import fit

from .objective import FlipObjective, gains, objective
from .threshold import MODES, share_above

ALIKE = 1e-6
"""Range of the gains below which they rank no row above another."""

OFF = 0.02
"""Difference of the share above λ from the budget's share at which the log warns."""

OPTIMIZERS = {
    "adam": lambda parameters, lr, decay: torch.optim.Adam(parameters, lr, weight_decay=decay),
    "sgd": lambda parameters, lr, decay: torch.optim.SGD(
        parameters, lr, momentum=0.9, weight_decay=decay
    ),
}


class LearnedFlip:
    """Alternation of training a network and choosing the rows with the largest gains.

    Args:
        method: ``mask`` or ``threshold``.
        lambda_mode: update of λ, a row of ``threshold.MODES``.
        start: weights of the attacker's network at the start, ``fresh`` or ``clean``.
        outer: number of rounds.
        inner: epochs of a round.
        optimizer: optimizer of the attacker's network, ``adam`` or ``sgd``.
        lr: learning rate.
        weight_decay: L2 penalty.
        batch: comparisons of a step.
        chunk: items scored at once.
    """

    def __init__(
        self,
        *,
        method: str,
        lambda_mode: str,
        start: str,
        outer: int,
        inner: int,
        optimizer: str,
        lr: float,
        weight_decay: float,
        batch: int,
        chunk: int,
    ) -> None:
        self.method, self.mode, self.start = method, lambda_mode, start
        self.outer, self.inner, self.batch, self.chunk = outer, inner, batch, chunk
        self.optimizer, self.lr, self.weight_decay = OPTIMIZERS[optimizer], lr, weight_decay

    def poison(
        self, train: Data, val: Data, model: Model | None, budget: Budget, ctx: Context
    ) -> Edits:
        assert model is not None, "the manifest requires knowledge"
        problem = FlipObjective(model, train, self.chunk)
        rows = self.solve(problem, self.surrogate(model), int(budget.edits or 0), ctx)
        ctx.log(f"flips: {count_by_attribute(train.y, rows, train.spec.classes)}")
        return label_flips(train, rows)

    def surrogate(self, model: Model) -> nn.Module:
        """Return the attacker's network: new, or a copy of the clean victim."""
        network = model.fresh()
        if self.start == "clean":
            network.load_state_dict(model.undefended.state_dict())
        return network

    def solve(self, problem: FlipObjective, network: nn.Module, count: int, ctx: Context) -> Tensor:
        """Return the ``count`` rows of the largest gains after the last round."""
        seed = ctx.seed("ties")
        draw = torch.Generator().manual_seed(seed)
        optimizer = self.optimizer(network.parameters(), self.lr, self.weight_decay)
        steps = self.inner * steps_per_epoch(len(problem.data), self.batch)
        found = gains(problem.losses(network), problem.clean)
        rows = smallest(-found, count, draw)
        flips = torch.zeros_like(found, dtype=torch.bool)
        threshold = MODES[self.mode](count, self.batch)
        threshold.start(found)
        alike = float(found.max() - found.min()) < ALIKE
        if alike:
            ctx.log(f"all gains are equal: the first {count} rows are drawn by the seed {seed}")
            flips[rows] = True
        for done in range(1, self.outer + 1):
            by_mask = self.method == "mask" or (alike and done == 1)
            plain = problem.masked(flips) if by_mask else problem.thresholded(threshold.value)
            loss = frozen_statistics(plain) if self.start == "clean" else plain
            recipe = Recipe(steps, self.batch, self.lr, log_every=steps)
            fit(network, problem.data, loss, ctx, recipe, optimizer=optimizer, name=f"round {done}")
            losses = problem.losses(network)
            found = gains(losses, problem.clean)
            threshold.update(found)
            rows, before = smallest(-found, count, draw), flips
            flips = torch.zeros_like(before)
            flips[rows] = True
            changed = int((flips != before).sum())
            self.log_round(ctx, done, problem, losses, flips, changed, threshold.value, network)
            if not changed:
                break
        if self.method == "threshold" and self.mode != "quantile":
            self.warn(ctx, share_above(found, threshold.value), count / len(found))
        return rows

    def log_round(
        self,
        ctx: Context,
        done: int,
        problem: FlipObjective,
        losses: Tensor,
        flips: Tensor,
        changed: int,
        threshold: float,
        network: nn.Module,
    ) -> None:
        """Write a line of the log and points of the curves."""
        square = sum(float(p.detach().square().sum()) for p in network.parameters())
        value = objective(losses, problem.clean, flips) + self.weight_decay / 2 * square
        ctx.metric("objective", value, done)
        ctx.metric("changed", changed, done)
        line = f"round {done} of {self.outer}: objective {value:.4f}, {changed} entries changed"
        if self.method == "threshold":
            above = share_above(gains(losses, problem.clean), threshold)
            ctx.metric("lambda", threshold, done)
            ctx.metric("above_lambda", above, done)
            line += f", λ {threshold:.4f} with {above:.2%} of the rows above it"
        ctx.log(line)

    def warn(self, ctx: Context, above: float, wanted: float) -> None:
        """Warn if the network was trained with more or fewer flips than the budget allows."""
        if abs(above - wanted) > OFF:
            ctx.log(f"warning: {above:.1%} of the rows are above λ, the budget is {wanted:.1%}")


def frozen_statistics(loss):  # noqa: ANN001, ANN201 - a Loss of a Loss
    """Return the loss with the running statistics of batch norm frozen.

    Gains compare with scores in eval mode: a trained network keeps its statistics, and a new one
    finds its own, as in the original.
    """

    def inner(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return loss(network, x, y)

    return inner
