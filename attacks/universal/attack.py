"""Universal perturbation by gradients (Moosavi-Dezfooli et al. 2017; Metzen et al. 2017)."""

from __future__ import annotations

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import Radius, ball, project
from harness.runtime.recipe import Recipe
from harness.runtime.training import fit

FILE = "delta.safetensors"


class Universal:
    """One perturbation ε·tanh(θ) for every input, with θ by Adam; test time needs no network.

    Args:
        steps: steps of Adam.
        batch: examples of a step.
        lr: learning rate, falling to 0.
        objective: loss to raise, a row of ``dense.LOSSES``.
        balanced: whether labels are weighted by 1 / N of their class.
    """

    def __init__(
        self, *, steps: int, batch: int, lr: float, objective: str, balanced: bool
    ) -> None:
        self.steps, self.batch, self.lr = steps, batch, lr
        self.loss_fn, self.weights = dense.LOSSES[objective], "inverse" if balanced else "none"

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        """Train the perturbation against the frozen victim and save it."""
        first = train.raw[:1].to(ctx.device)
        delta = Delta(first.shape[1:], ball(budget, first).eps).to(ctx.device)
        victim_loss = dense.victim_loss(self.loss_fn, model.module, train, self.weights)

        def loss(delta: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return -victim_loss(delta(x), y)

        recipe = Recipe(self.steps, self.batch, self.lr, optimizer="adam", schedule="linear")
        fit(delta, train, loss, ctx, recipe)
        save_file({"delta": delta.value().detach().cpu().contiguous()}, ctx.state / FILE)

    def perturb(
        self,
        model: Model | None,
        x: Tensor,
        y: Tensor | None,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        delta = load_file(ctx.state / FILE)["delta"].to(x)
        return project(x + delta, x, *ball(budget, x))


class Delta(nn.Module):
    """The map x → clamp(x + ε·tanh(θ)) with one trained θ."""

    def __init__(self, shape: tuple[int, ...], eps: Radius) -> None:
        super().__init__()
        self.eps, self.theta = eps, nn.Parameter(0.01 * torch.randn(1, *shape))

    def value(self) -> Tensor:
        """Return the perturbation, ``[1, …]``."""
        return self.eps * self.theta.tanh()

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.value()).clamp(0, 1)
