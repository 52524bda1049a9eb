"""Malicious autoencoder: trained against a frozen victim, then applied without looking at it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.runtime import dense
from harness.runtime.contracts import Budget, Context, Data, Model, NotApplicable
from harness.runtime.gradients import ball
from harness.runtime.miou import pooled_miou
from harness.runtime.training import fit

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


class Bounded(nn.Module):
    """clamp(x + ε·tanh(g(x))): within ε by construction, and differentiable everywhere."""

    def __init__(self, inner: nn.Sequential, eps: float) -> None:
        super().__init__()
        self.inner, self.eps = inner, eps
        with torch.no_grad():  # near the identity at first: a saturated tanh would not learn
            inner[-1].weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        change = self.eps * whole(self.inner, x).tanh()
        # x + ε rounds to above the limit now and then
        return torch.minimum(torch.maximum(x + change, x - self.eps), x + self.eps).clamp(0, 1)


class Whole(nn.Module):
    """clamp(g(x)): a new picture."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return whole(self.inner, x).clamp(0, 1)


def whole(inner: nn.Module, x: Tensor) -> Tensor:
    """``inner(x)`` in the size of ``x``, whatever that is: sides are halved and doubled twice."""
    height, width = x.shape[2:]
    grown: Tensor = inner(F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate"))
    return grown[..., :height, :width]


def small(channels: int) -> nn.Sequential:
    """The seed's two layers: 440 parameters on RGB, linear but for what comes after."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1), grown(8, channels, bias=False)
    )


def medium(channels: int) -> nn.Sequential:
    """Five layers, 19,590 parameters on RGB."""
    return nn.Sequential(
        *(nn.Conv2d(channels, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.PReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.PReLU()),
        *(nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.BatchNorm2d(32), nn.PReLU()),
        *(grown(32, 16), nn.BatchNorm2d(16), nn.ReLU()),
        grown(16, channels),
    )


def large(channels: int) -> nn.Sequential:
    """ENet's ends with four blocks between them; unlike it, it grows pictures without indices."""
    return nn.Sequential(
        Initial(channels),
        Block(16, 64, "down"),
        *(Block(64, 64, "same") for _ in range(4)),
        Block(64, 16, "up"),
        Block(16, 16, "same"),
        grown(16, channels, bias=False),
    )


SIZES: dict[str, Callable[[int], nn.Sequential]] = {"s": small, "m": medium, "l": large}


def grown(inputs: int, outputs: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    """Twice the side."""
    return nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1, bias=bias)


class Initial(nn.Module):
    """Convolution beside pooling, at half the side: 16 maps (Paszke et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 16 - channels, 3, 2, padding=1, bias=False)
        self.after = nn.Sequential(nn.BatchNorm2d(16), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 3, 2, padding=1)
        joined: Tensor = self.after(torch.cat([self.convolution(x), pooled], dim=1))
        return joined


class Block(nn.Module):
    """ENet's bottleneck: through a quarter of the channels, beside a way past it."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__()
        narrow = inputs // 4
        first = {"down": (2, 2)}.get(kind, (1, 1))
        middle = grown(narrow, narrow, bias=False) if kind == "up" else None
        self.past = (
            nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        )
        self.resize = {"down": nn.MaxPool2d(2), "up": nn.Upsample(scale_factor=2.0)}.get(kind)
        self.through = nn.Sequential(
            *(nn.Conv2d(inputs, narrow, *first, bias=False), nn.BatchNorm2d(narrow), nn.PReLU()),
            middle or nn.Conv2d(narrow, narrow, 3, padding=1, bias=False),
            *(nn.BatchNorm2d(narrow), nn.PReLU()),
            *(nn.Conv2d(narrow, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.after = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        through = self.through(x)
        past = self.past(x if self.resize is None else self.resize(x))
        joined: Tensor = self.after(past + through)
        return joined
