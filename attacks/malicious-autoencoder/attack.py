"""Malicious autoencoder: trained against a frozen victim, then applied without looking at it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Data, Model, NotApplicable
from harness.runtime.gradients import ball
from harness.runtime.miou import pooled_miou
from harness.runtime.training import fit

from .networks import SIZES, Bounded, Whole

FILE = "network.safetensors"
ROUNDS = 6
"""Times that the penalty of the hinge may grow, each time fourfold."""
FIRST_PENALTY = 100.0


class MaliciousAutoencoder:
    """See the README for the three forms; everything is trained by Adam with a falling rate.

    Args:
        form: ``bounded``, ``original`` or ``hinge``. size: ``s``, ``m`` or ``l``.
        objective: a row of ``dense.LOSSES``. class_weights: ``none``, ``inverse``, ``enet``.
        psnr: what the hinge asks for, in dB. steps, batch, lr: of the training.
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
        self.objective = dense.LOSSES["ce" if form == "original" else objective]
        self.mse = 10 ** (-psnr / 10)
        self.steps, self.batch, self.lr = steps, batch, lr

    def learn(self, model: Model, train: Data, val: Data, budget: Budget, ctx: Context) -> None:
        network = self.build(train.spec.shape[0], budget).to(ctx.device)
        hurt = dense.damage(self.objective, model.module, train, self.class_weights)
        if self.form == "bounded":
            self.train(network, train, ctx, lambda x, out, y: -hurt(out, y))
        elif self.form == "original":
            # the seed's: 0.1 × the distance of the whole batch − 100 × cross entropy
            def rows(x: Tensor, out: Tensor, y: Tensor) -> Tensor:
                return 0.1 * (out - x).norm() - 100 * hurt(out, y)

            self.train(network, train, ctx, rows)
        else:
            self.train_with_hinge(network, train, val, ctx, hurt)
        with torch.no_grad():
            log_collapse(network.eval(), model.module, val, self.batch, ctx)
        kept = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        save_file(kept, ctx.state / FILE)

    def perturb(
        self,
        model: Model | None,
        x: Tensor,
        y: Tensor | None,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        network = self.build(x.shape[1], budget)
        network.load_state_dict(load_file(ctx.state / FILE))
        with torch.no_grad():
            attacked: Tensor = network.to(ctx.device).eval()(x)
        return attacked

    def build(self, channels: int, budget: Budget) -> nn.Module:
        """The untrained attacker."""
        inner = SIZES[self.size](channels)
        if self.form != "bounded":
            if not budget.unbounded:
                raise NotApplicable("it makes whole pictures: only an unbounded budget allows that")
            return Whole(inner)
        norm, eps = ball(budget)
        if norm != "linf":
            raise NotApplicable("its change is bounded by tanh: it needs linf")
        return Bounded(inner, eps)

    def train(
        self,
        network: nn.Module,
        train: Data,
        ctx: Context,
        rows: Callable[[Tensor, Tensor, Tensor], Tensor],
        name: str = "fit",
    ) -> None:
        """Minimise ``rows(x, network(x), y)``; the victim stays outside of what is trained."""

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            return rows(x, network(x), y)

        fit(
            network,
            train,
            loss,
            ctx,
            steps=self.steps,
            batch=self.batch,
            lr=self.lr,
            optimizer="adam",
            schedule="linear",
            name=name,
        )

    def train_with_hinge(
        self,
        network: nn.Module,
        train: Data,
        val: Data,
        ctx: Context,
        hurt: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Let the penalty grow until the pictures of validation are close enough on average."""
        for number in range(ROUNDS):
            penalty = FIRST_PENALTY * 4**number

            def rows(x: Tensor, out: Tensor, y: Tensor, penalty: float = penalty) -> Tensor:
                return penalty * (mse(x, out) - self.mse).clamp_min(0) - hurt(out, y)

            self.train(network, train, ctx, rows, name=f"penalty {penalty:g}")
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
    """Log what the change looks like on validation, and what its mean does alone.

    Where the mean change does as much as the network, it has learnt nothing about the picture.
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
    """Channels as a log shows them."""
    return " ".join(f"{255 * value:+.1f}" for value in values.tolist())


class Added(nn.Module):
    """clamp(x + change)."""

    def __init__(self, change: Tensor) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.change).clamp(0, 1)


def mse(x: Tensor, out: Tensor) -> Tensor:
    """Mean square change of each picture, ``[B]``."""
    return (out - x).square().flatten(1).mean(1)
