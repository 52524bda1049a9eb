"""Malicious autoencoder: trained against a frozen victim, applied in one pass without it.

The bounded form is the perturbation network of Baluja and Fischer (AAAI 2018) and of GAP (Poursaeed
et al., CVPR 2018); the original is ``cat_coop``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Data, Model
from harness.runtime.gradients import ball
from harness.runtime.miou import pooled_miou
from harness.runtime.recipe import Recipe
from harness.runtime.training import fit

from .networks import SIZES, Bounded, Whole

FILE = "network.safetensors"
ROUNDS = 6
"""Largest number of trainings of the hinge form; each has four times the penalty before it."""
FIRST_PENALTY = 100.0
"""Penalty of the first training of the hinge form."""


class MaliciousAutoencoder:
    """Generative attack in three forms, which the README describes.

    Args:
        form: ``bounded``, ``original`` or ``hinge``.
        size: size of the network, ``s``, ``m`` or ``l``.
        objective: loss to raise, a row of ``dense.LOSSES``; the original form raises ``ce``.
        class_weights: weights of labels, ``none``, ``inverse`` or ``enet``.
        psnr: lowest PSNR of the hinge form, in dB.
        steps: steps of Adam.
        batch: pictures of a step.
        lr: learning rate, falling to 0.
    """

    def __init__(
        self,
        *,
        form: str,
        size: str,
        objective: str,
        class_weights: str,
        psnr: float,
        steps: int,
        batch: int,
        lr: float,
    ) -> None:
        self.form, self.size, self.class_weights = form, size, class_weights
        self.loss_fn = dense.LOSSES["ce" if form == "original" else objective]
        self.mse = 10 ** (-psnr / 10)
        self.steps, self.batch, self.lr = steps, batch, lr

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        network = self.build(train.raw[:1].to(ctx.device), budget).to(ctx.device)
        victim_loss = dense.victim_loss(self.loss_fn, model.module, train, self.class_weights)
        if self.form == "bounded":
            self.train(network, train, ctx, lambda x, x_adv, y: -victim_loss(x_adv, y))
        elif self.form == "original":
            # cat_coop's: 0.1 × the distance of the whole batch − 100 × cross entropy
            def objective(x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
                return 0.1 * (x_adv - x).norm() - 100 * victim_loss(x_adv, y)

            self.train(network, train, ctx, objective)
        else:
            self.train_with_hinge(network, train, val, ctx, victim_loss)
        with torch.no_grad():
            log_collapse(network.eval(), model.module, val, self.batch, ctx)
        state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(state, ctx.state / FILE)

    def perturb(
        self,
        model: Model | None,
        x: Tensor,
        y: Tensor | None,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        network = self.build(x, budget)
        network.load_state_dict(load_file(ctx.state / FILE))
        with torch.no_grad():
            x_adv: Tensor = network.to(ctx.device).eval()(x)
        return x_adv

    def build(self, x: Tensor, budget: Budget) -> nn.Module:
        """Return an untrained autoencoder of inputs like ``x``."""
        inner = SIZES[self.size](x.shape[1])
        return Bounded(inner, ball(budget, x).eps) if self.form == "bounded" else Whole(inner)

    def train(
        self,
        network: nn.Module,
        train: Data,
        ctx: Context,
        objective: Callable[[Tensor, Tensor, Tensor], Tensor],
        name: str = "fit",
    ) -> None:
        """Minimise ``objective(x, network(x), y)``; the victim's weights stay as they are."""

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return objective(x, network(x), y)

        recipe = Recipe(self.steps, self.batch, self.lr, optimizer="adam", schedule="linear")
        fit(network, train, loss, ctx, recipe, name=name)

    def train_with_hinge(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        ctx: Context,
        victim_loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Raise the penalty until the mean square change on validation is within the limit."""
        for number in range(ROUNDS):
            penalty = FIRST_PENALTY * 4**number

            def objective(x: Tensor, x_adv: Tensor, y: Tensor, penalty: float = penalty) -> Tensor:
                return penalty * (mse(x, x_adv) - self.mse).clamp_min(0) - victim_loss(x_adv, y)

            self.train(network, train, ctx, objective, name=f"penalty {penalty:g}")
            network.eval()
            with torch.no_grad():
                found = torch.cat([mse(x, network(x)) for x, _ in val.batches(self.batch)]).mean()
            ctx.log(f"penalty {penalty:g}: mean square change {found:.3g}, limit {self.mse:.3g}")
            if found <= self.mse:
                return
        ctx.log("warning: the limit does not hold after the last round: the PSNR will be lower")


def log_collapse(
    network: nn.Module, victim: nn.Module, val: Data, batch: int, ctx: Context
) -> None:
    """Log the change on validation, and the mIoU with the network and with its mean change alone.

    If both mIoU are alike, the network has collapsed to a universal perturbation.
    """
    shape = val.spec.shape
    total, square, n = torch.zeros(shape), torch.zeros(shape[0]), 0
    for x, _ in val.batches(batch):
        change = (network(x) - x).cpu()
        total += change.sum(0)
        square += change.square().sum((0, 2, 3))
        n += len(x)
    mean = total / n
    level = mean.mean((1, 2))
    spread = (square / (n * shape[1] * shape[2]) - level.square()).clamp_min(0).sqrt()
    own = pooled_miou(nn.Sequential(network, victim), val, batch)
    alone = pooled_miou(nn.Sequential(Added(mean.to(ctx.device)), victim), val, batch)
    ctx.log(
        f"mean change of each channel, in 255ths: {in_255ths(level)}; spread: {in_255ths(spread)}"
    )
    ctx.log(f"validation mIoU {own:.4f}; with the mean change alone {alone:.4f}")


def in_255ths(values: Tensor) -> str:
    """Format values of channels for the log."""
    return " ".join(f"{255 * value:+.1f}" for value in values.tolist())


class Added(nn.Module):
    """The map x → clamp(x + change)."""

    def __init__(self, change: Tensor) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.change).clamp(0, 1)


def mse(x: Tensor, x_adv: Tensor) -> Tensor:
    """Return the mean square change of each picture, ``[B]``."""
    return (x_adv - x).square().flatten(1).mean(1)
