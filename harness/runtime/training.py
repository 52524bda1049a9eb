"""The training loop that victims share: seeded batches, and a checkpoint that survives a kill."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, Victim
from harness.runtime.model import evaluating
from harness.runtime.tasks import loss_for

SAVE_SECONDS = 10.0
"""A checkpoint is written at most this often."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "cosine": lambda part: 0.5 * (1 + math.cos(math.pi * part)),
}
"""Learning rate, as a factor, by the part of the training that is done."""


def fit(
    network: nn.Module,
    train: Data,
    loss: Loss,
    ctx: Context,
    *,
    steps: int,
    batch: int,
    lr: float,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    val: Data | None = None,
    log_every: int = 50,
    name: str = "fit",
) -> None:
    """Train ``network`` in place, in train mode, and leave it in the mode it came in.

    The order of an epoch and torch's global generator at a step depend on their numbers alone. So
    a run that was killed and resumed ends in the same bits as an undisturbed one, as long as
    ``loss`` depends on its arguments and torch's global generator only.

    Args:
        network: on ``ctx.device``. Parameters that need no gradient stay as they are.
        train: at least one example. A last batch of one is left out: batch norm cannot take it.
        loss: one value a row; its mean is minimised.
        ctx: gives the seeds, the folder for checkpoints, and takes the curve.
        steps: gradient steps, over as many epochs as they need.
        batch: examples (in ranking: comparisons) a step.
        lr: learning rate at the first step.
        optimizer: ``sgd`` or ``adam``. momentum: of SGD.
        weight_decay: L2 penalty, on all parameters.
        schedule: a row of ``SCHEDULES``.
        val: when given, its mean loss in eval mode is reported as well.
        log_every: steps between two points of the curve.
        name: tells fits of one stage apart that differ in nothing but ``loss``.

    Raises:
        ValueError: nothing to train on.
        ArithmeticError: the loss is no longer finite.
    """
    if len(train) == 0:
        raise ValueError("the training set is empty")
    rule = _rule(network, optimizer, lr, momentum, weight_decay)
    recipe = [name, steps, batch, lr, optimizer, momentum, weight_decay, schedule]
    saved = _Checkpoint(ctx.checkpoint, network, rule, _digest(recipe, network, train))
    first = saved.resume()
    order = _order(len(train), batch, ctx, name, first)
    mode = network.training
    network.train()
    for step, rows in zip(range(first, steps), order, strict=False):
        for group in rule.param_groups:
            group["lr"] = lr * SCHEDULES[schedule](step / steps)
        torch.manual_seed(ctx.seed("step", name, step))
        value = loss(network, *train.take(rows)).mean()
        rule.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        rule.step()
        done = step + 1
        if done % log_every == 0 or done == steps:
            _report(network, value.item(), loss, val, batch, ctx, done)
        saved.keep(done, last=done == steps)
    network.train(mode)


def loss_of(victim: Victim, task: str) -> Loss:
    """The victim's own loss, or its task's: what a defence builds upon."""
    own: Loss | None = getattr(victim, "loss", None)
    return own or loss_for(task)


def _rule(
    network: nn.Module, optimizer: str, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    if optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
        )
    if optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
    raise ValueError(f"optimizer {optimizer!r}: expected sgd or adam")


def _order(count: int, batch: int, ctx: Context, name: str, first: int) -> Iterator[Tensor]:
    """The rows of each step from step ``first`` on, without end."""
    per_epoch = max(1, count // batch + (count % batch > 1))
    for epoch in itertools.count(first // per_epoch):
        order = torch.randperm(count, generator=ctx.generator("batches", name, epoch))
        yield from torch.split(order, batch)[first % per_epoch : per_epoch]
        first = 0


def _report(
    network: nn.Module,
    value: float,
    loss: Loss,
    val: Data | None,
    batch: int,
    ctx: Context,
    step: int,
) -> None:
    """A point of the curve. The step's own loss, not a mean, so that no state has to survive."""
    if not math.isfinite(value):
        raise ArithmeticError(f"the training loss is {value} at step {step}")
    ctx.metric("loss", value, step)
    if val is None or len(val) == 0:
        return
    with evaluating(network):  # no torch.no_grad(): an adversarial loss needs gradients of x
        total = sum(float(loss(network, x, y).sum()) for x, y in val.batches(batch))
    ctx.metric("val_loss", total / len(val), step)


class _Checkpoint:
    """Weights, optimiser and step count in one file, written aside and renamed.

    Its name holds a digest of all that the result depends on, so that several fits of one stage
    never resume from each other's file.
    """

    def __init__(
        self, folder: Path, network: nn.Module, rule: torch.optim.Optimizer, digest: str
    ) -> None:
        self._path = folder / f"{digest[:32]}.pt"
        self._network, self._rule = network, rule
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Load what was kept; the number of steps already done."""
        if not self._path.is_file():
            return 0
        try:
            # an optimiser's state is nested, which safetensors cannot hold; our own file, no pickle
            kept = torch.load(self._path, map_location="cpu", weights_only=True)  # noqa: TID251
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            return 0  # torn by a full disk: the fit starts over
        self._network.load_state_dict(kept["network"])
        self._rule.load_state_dict(kept["rule"])
        return int(kept["step"])

    def keep(self, step: int, *, last: bool) -> None:
        """Save when it is time; the last step only where an earlier one was saved."""
        now = time.monotonic()
        if now - self._saved < SAVE_SECONDS and not (last and self._path.is_file()):
            return
        aside = self._path.with_suffix(".aside")
        state = {
            "network": self._network.state_dict(),
            "rule": self._rule.state_dict(),
            "step": step,
        }
        torch.save(state, aside)
        aside.replace(self._path)
        self._saved = time.monotonic()


def _digest(recipe: list[object], network: nn.Module, train: Data) -> str:
    """Of the recipe, the initial weights, and which examples with which labels."""
    total = hashlib.sha256(json.dumps(recipe).encode())
    for key, tensor in [*network.state_dict().items(), ("ids", train.ids), ("y", train.y)]:
        total.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
