"""The training loop that victims share: seeded batches, and a checkpoint that survives a kill."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, Victim
from harness.runtime.model import eval_mode
from harness.runtime.tasks import loss_for

SAVE_SECONDS = 10.0
"""A checkpoint is written at most this often."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "cosine": lambda part: 0.5 * (1 + math.cos(math.pi * part)),
    "linear": lambda part: 1.0 - part,
}
"""Learning rate, as a factor, by the part of the training that is done."""

DECAY = 0.1
"""What ``decay_every`` multiplies the learning rate by."""

Score = Callable[[nn.Module], float]
"""``score(network)``, in eval mode and without gradients: higher is better."""


def fit(
    network: nn.Module,
    train: Data,
    loss: Loss,
    ctx: Context,
    *,
    steps: int,
    batch: int,
    lr: float,
    optimizer: str | torch.optim.Optimizer = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    decay_every: int = 0,
    val: Data | None = None,
    validate: Score | None = None,
    log_every: int = 50,
    score: Score | None = None,
    score_every: int = 0,
    score_name: str = "score",
    name: str = "fit",
) -> None:
    """Train ``network`` in place, in train mode, and leave it in the mode it came in.

    The order of an epoch and torch's global generator at a step depend on their numbers alone. So
    a run that was killed and resumed ends in the same bits as an undisturbed one, as long as
    ``loss`` depends on its arguments and torch's global generator only, and ``score`` on its
    argument only.

    Args:
        network: on ``ctx.device``. Parameters that need no gradient stay as they are.
        train: at least one example. A last batch of one is left out: batch norm cannot take it.
        loss: one value a row; its mean is minimised.
        ctx: gives the seeds, the folder for checkpoints, and takes the curve.
        steps: gradient steps, over as many epochs as they need.
        batch: examples (in ranking: comparisons) a step.
        lr: learning rate at the first step.
        optimizer: ``sgd`` or ``adam``, or an optimiser of the network's parameters, which goes on
            from fit to fit with its own momentum and weight decay. momentum: of SGD.
        weight_decay: L2 penalty, on all parameters.
        schedule: a row of ``SCHEDULES``.
        decay_every: steps after which the rate falls to a tenth, again and again; 0 is never. It
            multiplies the schedule, and stays where it is when ``steps`` changes.
        val: when given, its mean loss in eval mode is reported as well.
        validate: gives that mean where the caller knows a cheaper way than batches of ``val``.
        log_every: steps between two points of the curve.
        score: when given, the network ends in the state that scored best, parameters and buffers;
            the earliest of equals. A score of NaN is never the best; without any other, the network
            stays as the last step left it.
        score_every: steps between two scores; the last step is scored as well.
        score_name: of the score's curve.
        name: tells fits of one stage apart that differ in nothing but ``loss``.

    Raises:
        ValueError: nothing to train on, or a score without ``score_every``.
        ArithmeticError: the loss is no longer finite.
    """
    if len(train) == 0:
        raise ValueError("the training set is empty")
    if score is not None and score_every < 1:
        raise ValueError(f"score_every is {score_every}: expected at least 1 step")
    rule, best = _rule(network, optimizer, lr, momentum, weight_decay), _Best()
    known = optimizer if isinstance(optimizer, str) else _mark(optimizer)
    recipe = [name, steps, batch, lr, known, momentum, weight_decay, schedule, decay_every,
              None if score is None else [score_name, score_every]]  # fmt: skip
    saved = _Checkpoint(ctx.checkpoint, network, rule, best, _digest(recipe, network, train))
    first = saved.resume()
    order = _order(len(train), batch, ctx, name, first)
    mode = network.training
    network.train()
    for step, rows in zip(range(first, steps), order, strict=False):
        for group in rule.param_groups:
            group["lr"] = lr * SCHEDULES[schedule](step / steps)
            if decay_every:
                group["lr"] *= DECAY ** (step // decay_every)
        seed_globally(ctx.seed("step", name, step), ctx.device)
        value = loss(network, *train.take(rows)).mean()
        rule.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        rule.step()
        done = step + 1
        if done % log_every == 0 or done == steps:
            where = f"{name}: step {done} of {steps}"
            measure = validate or (val and len(val) and partial(_mean_loss, loss, val, batch))
            _report(network, value.item(), measure or None, ctx, done, where)
        if score is not None and (done % score_every == 0 or done == steps):
            best.offer(network, score, done)
            ctx.metric(score_name, best.last, done)
            ctx.log(f"{name}: step {done} of {steps}, {score_name} {best.last:.4f}, best "
                    f"{best.score:.4f} at step {best.step}")  # fmt: skip
        saved.keep(done, last=done == steps)
    best.restore(network)
    network.train(mode)


def seed_globally(seed: int, device: torch.device) -> None:
    """``torch.manual_seed``, without its 0.1 ms where only the CPU is used.

    Torch keeps the seed for GPUs that nobody has used yet together with a whole traceback, which
    took a third of the time of a step on a small table.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def loss_of(victim: Victim, task: str) -> Loss:
    """The victim's own loss, or its task's: what a defence builds upon."""
    own: Loss | None = getattr(victim, "loss", None)
    return own or loss_for(task)


def _rule(
    network: nn.Module,
    optimizer: str | torch.optim.Optimizer,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    if not isinstance(optimizer, str):
        return optimizer
    if optimizer == "sgd":
        return torch.optim.SGD(
            network.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
        )
    if optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay)
    raise ValueError(f"optimizer {optimizer!r}: expected sgd or adam")


def steps_per_epoch(count: int, batch: int) -> int:
    """Steps that ``fit`` makes of one pass; a last batch of one is left out.

    >>> steps_per_epoch(50, 8), steps_per_epoch(49, 8), steps_per_epoch(1, 8)
    (7, 6, 1)
    """
    return max(1, count // batch + (count % batch > 1))


def _order(count: int, batch: int, ctx: Context, name: str, first: int) -> Iterator[Tensor]:
    """The rows of each step from step ``first`` on, without end."""
    per_epoch = steps_per_epoch(count, batch)
    for epoch in itertools.count(first // per_epoch):
        order = torch.randperm(count, generator=ctx.generator("batches", name, epoch))
        yield from torch.split(order, batch)[first % per_epoch : per_epoch]
        first = 0


def _report(
    network: nn.Module,
    value: float,
    measure: Score | None,
    ctx: Context,
    step: int,
    where: str,
) -> None:
    """A point of the curve, a line of the log: the step's own loss, for a mean would be a state."""
    if not math.isfinite(value):
        raise ArithmeticError(f"the training loss is {value} at step {step}")
    ctx.metric("loss", value, step)
    if measure is None:
        ctx.log(f"{where}, loss {value:.4f}")
        return
    with eval_mode(network):  # no torch.no_grad(): an adversarial loss needs gradients of x
        mean = measure(network)
    ctx.metric("val_loss", mean, step)
    ctx.log(f"{where}, loss {value:.4f}, on validation {mean:.4f}")


def _mean_loss(loss: Loss, val: Data, batch: int, network: nn.Module) -> float:
    return sum(float(loss(network, x, y).sum()) for x, y in val.batches(batch)) / len(val)


class _Best:
    """The best state so far and when it was; ``last`` is the score given last."""

    def __init__(self) -> None:
        self.last, self.score, self.step = math.nan, -math.inf, 0
        self.state: dict[str, Tensor] | None = None

    def offer(self, network: nn.Module, score: Score, step: int) -> None:
        """Score the network; keep a copy of its state if nothing before was as good."""
        with eval_mode(network), torch.no_grad():
            self.last = float(score(network))
        if self.last > self.score:
            self.score, self.step = self.last, step
            self.state = {key: t.detach().clone() for key, t in network.state_dict().items()}

    def restore(self, network: nn.Module) -> None:
        """Put the best state back, if there is one."""
        if self.state is not None:
            network.load_state_dict(self.state)


class _Checkpoint:
    """Weights, optimiser, step count and best state in one file, written aside and renamed.

    Its name holds a digest of all that the result depends on, so that several fits of one stage
    never resume from each other's file.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        rule: torch.optim.Optimizer,
        best: _Best,
        digest: str,
    ) -> None:
        self._path = folder / f"{digest[:32]}.pt"
        self._network, self._rule, self._best = network, rule, best
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
        self._best.score, self._best.step, self._best.state = kept["best"]
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
            "best": (self._best.score, self._best.step, self._best.state),
        }
        torch.save(state, aside)
        aside.replace(self._path)
        self._saved = time.monotonic()


def _digest(recipe: list[object], network: nn.Module, train: Data) -> str:
    """Of the recipe, the initial weights, and which examples with which labels."""
    total = hashlib.sha256(json.dumps(recipe).encode())
    for key, tensor in [*network.state_dict().items(), ("ids", train.ids), ("y", train.y)]:
        _add(total, key, tensor)
    return total.hexdigest()


def _mark(rule: torch.optim.Optimizer) -> str:
    """Of an optimiser's kind, options and state; the rate is the fit's own."""
    kept = rule.state_dict()
    groups = [[(k, v) for k, v in group.items() if k != "lr"] for group in kept["param_groups"]]
    total = hashlib.sha256(f"{type(rule).__name__} {groups}".encode())
    for number, state in sorted(kept["state"].items()):
        for key, value in sorted(state.items()):
            _add(total, f"{number} {key}", torch.as_tensor(0.0 if value is None else value))
    return total.hexdigest()


def _add(total: hashlib._Hash, key: str, tensor: Tensor) -> None:
    total.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    total.update(flat.view(torch.uint8).numpy().tobytes())
