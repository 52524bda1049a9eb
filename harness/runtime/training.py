"""Training loop that victims share: seeded batches, and checkpoints that survive a kill."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, Spec, Victim
from harness.runtime.model import eval_mode
from harness.runtime.tasks import loss_for

SAVE_SECONDS = 10.0
"""Shortest time between two checkpoints."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "cosine": lambda part: 0.5 * (1 + math.cos(math.pi * part)),
    "linear": lambda part: 1.0 - part,
}
"""Schedule → factor of the learning rate, as a function of the share of the training done."""

DECAY = 0.1
"""Factor of the learning rate every ``decay_every`` steps."""

Score = Callable[[nn.Module], float]
"""``score(network)``, called in eval mode and without gradients; higher is better."""


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
    random_crop: bool = False,
) -> None:
    """Train ``network`` in place, in train mode, and restore its mode.

    The order of an epoch depends on the epoch's number only, and torch's global generator is seeded
    anew at each step. So a run that was killed and resumed ends in the same bits as an undisturbed
    one, as long as ``loss`` depends on its arguments and torch's global generator only, and
    ``score`` on its argument only.

    Args:
        network: network on ``ctx.device``. Parameters that need no gradient do not change.
        train: training set with at least one example. If the last batch has one example only, it is
            left out, because batch norm cannot train on it.
        loss: training loss, one value per row; its mean is minimised.
        ctx: context with the seeds, the log and the folder for checkpoints.
        steps: gradient steps, over as many epochs as they need.
        batch: examples (in ranking: comparisons) per step.
        lr: learning rate at the first step.
        optimizer: ``sgd``, ``adam``, or an optimiser of the network's parameters; the latter keeps
            its state from one fit to the next and its own momentum and weight decay.
        momentum: momentum of SGD.
        weight_decay: L2 penalty on all parameters.
        schedule: a row of ``SCHEDULES``.
        decay_every: steps after which the learning rate falls to a tenth, repeatedly; 0 for never.
            It multiplies the schedule and does not depend on ``steps``.
        val: validation set whose mean loss in eval mode is reported, or ``None``.
        validate: function that returns this mean, if there is a faster way than batches of ``val``.
        log_every: steps between two points of the curve.
        score: if given, the network ends in the state with the best score (parameters and
            buffers), the earliest of equal ones. NaN is never the best; if all scores are NaN, the
            network stays as it is after the last step.
        score_every: steps between two scores; the last step is scored as well.
        score_name: name of the score's curve.
        name: name of the fit; it distinguishes fits of a stage that differ in ``loss`` only.
        random_crop: whether each training image is cropped at a place of its own, and half of them
            are mirrored, drawn anew at each step. Validation sees the middle. It changes nothing
            where images are stored as networks see them (``train.uncropped`` is ``None``).

    Raises:
        ValueError: the training set is empty, or ``score`` is given without ``score_every``.
        ArithmeticError: the loss is not finite.
    """
    if len(train) == 0:
        raise ValueError("the training set is empty")
    if score is not None and score_every < 1:
        raise ValueError(f"score_every is {score_every}: expected at least 1 step")
    opt, best = _make_optimizer(network, optimizer, lr, momentum, weight_decay), _Best()
    known = optimizer if isinstance(optimizer, str) else _optimizer_digest(optimizer)
    scored = None if score is None else [score_name, score_every]
    recipe = [name, steps, batch, lr, known, momentum, weight_decay, schedule, decay_every, scored,
              *(["random_crop"] if random_crop else [])]  # fmt: skip
    checkpoint = _Checkpoint(ctx.checkpoint, network, opt, best, _digest(recipe, network, train))
    first = checkpoint.resume()
    order = _order(len(train), batch, ctx, name, first)
    mode = network.training
    network.train()
    for step, rows in zip(range(first, steps), order, strict=False):
        for group in opt.param_groups:
            group["lr"] = lr * SCHEDULES[schedule](step / steps)
            if decay_every:
                group["lr"] *= DECAY ** (step // decay_every)
        seed_globally(ctx.seed("step", name, step), ctx.device)
        if random_crop and train.uncropped is not None:
            x, y = take_crops(train, rows, ctx.generator("crop", name, step))
        else:
            x, y = train.take(rows)
        value = loss(network, x, y).mean()
        opt.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        opt.step()
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
        checkpoint.save(done, last=done == steps)
    best.restore(network)
    network.train(mode)


def take_crops(data: Data, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what ``Data.take`` does, with each image cropped at random and half of them mirrored.

    Args:
        data: data set with ``uncropped`` images.
        rows: int64 ``[B]``, positions in the set.
        generator: source of the places and of who is mirrored.
    """
    assert data.uncropped is not None, "images are stored as networks see them"
    x, y = replace(data, raw=data.uncropped, uncropped=None).take(rows)
    height, width = data.spec.shape[-2:]
    top, left = (
        torch.randint(have - want + 1, (len(x),), generator=generator).tolist()
        for have, want in zip(x.shape[-2:], (height, width), strict=True)
    )
    mirrored = (torch.rand(len(x), generator=generator) < 0.5).tolist()
    crops = x.new_empty(len(x), *data.spec.shape)
    for crop, image, row, column, mirror in zip(crops, x, top, left, mirrored, strict=True):
        found = image[..., row : row + height, column : column + width]
        crop.copy_(found.flip(-1) if mirror else found)
    return crops, y


def seed_globally(seed: int, device: torch.device) -> None:
    """Seed torch as ``torch.manual_seed`` does, but without its 0.1 ms if only the CPU is used.

    Torch stores the seed for GPUs that are not initialised yet together with a traceback. On a
    small table that took a third of the time of a step.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def loss_of(victim: Victim, spec: Spec) -> Loss:
    """Return the victim's own loss, or else its task's, on which a defence can build."""
    own: Loss | None = getattr(victim, "loss", None)
    return own or loss_for(spec)


def _make_optimizer(
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
    """Return the steps of ``fit`` per epoch; a last batch of one example is left out.

    >>> steps_per_epoch(50, 8), steps_per_epoch(49, 8), steps_per_epoch(1, 8)
    (7, 6, 1)
    """
    return max(1, count // batch + (count % batch > 1))


def _order(count: int, batch: int, ctx: Context, name: str, first: int) -> Iterator[Tensor]:
    """Return the rows of each step from step ``first`` on, without end."""
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
    """Add a point to the curve and a line to the log.

    The loss is that of the step itself: a running mean would be a state that a resumed run lacks.
    """
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
    """Best state so far.

    Attributes:
        last: latest score.
        score: best score.
        step: step of the best score.
        state: copy of the network's state at that step, or ``None`` before the first score.
    """

    def __init__(self) -> None:
        self.last, self.score, self.step = math.nan, -math.inf, 0
        self.state: dict[str, Tensor] | None = None

    def offer(self, network: nn.Module, score: Score, step: int) -> None:
        """Score the network; copy its state if the score is better than all before."""
        with eval_mode(network), torch.no_grad():
            self.last = float(score(network))
        if self.last > self.score:
            self.score, self.step = self.last, step
            self.state = {key: t.detach().clone() for key, t in network.state_dict().items()}

    def restore(self, network: nn.Module) -> None:
        """Load the best state into the network, if there is one."""
        if self.state is not None:
            network.load_state_dict(self.state)


class _Checkpoint:
    """File with weights, optimiser, step count and best state, written aside and renamed.

    Its name is a digest of all that the result depends on, so that no fit of a stage resumes from
    the file of another.
    """

    def __init__(
        self,
        folder: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        best: _Best,
        digest: str,
    ) -> None:
        self._path = folder / f"{digest[:32]}.pt"
        self._network, self._optimizer, self._best = network, optimizer, best
        self._saved = time.monotonic()

    def resume(self) -> int:
        """Load the checkpoint if there is one; return the number of steps already done."""
        if not self._path.is_file():
            return 0
        try:
            # the state of an optimiser is nested, which safetensors cannot hold; weights_only
            # unpickles tensors and plain values only
            saved = torch.load(self._path, map_location="cpu", weights_only=True)  # noqa: TID251
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            return 0  # truncated by a full disk: the fit starts over
        self._network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["rule"])
        self._best.score, self._best.step, self._best.state = saved["best"]
        return int(saved["step"])

    def save(self, step: int, *, last: bool) -> None:
        """Write the checkpoint if ``SAVE_SECONDS`` have passed.

        Args:
            step: number of steps done.
            last: whether this is the last step; it is saved only if an earlier one was.
        """
        now = time.monotonic()
        if now - self._saved < SAVE_SECONDS and not (last and self._path.is_file()):
            return
        aside = self._path.with_suffix(".aside")
        state = {
            "network": self._network.state_dict(),
            "rule": self._optimizer.state_dict(),
            "step": step,
            "best": (self._best.score, self._best.step, self._best.state),
        }
        torch.save(state, aside)
        aside.replace(self._path)
        self._saved = time.monotonic()


def _digest(recipe: Sequence[object], network: nn.Module, train: Data) -> str:
    """Return a digest of the recipe, the initial weights, and the examples with their labels."""
    total = hashlib.sha256(json.dumps(recipe).encode())
    for key, tensor in [*network.state_dict().items(), ("ids", train.ids), ("y", train.y)]:
        _add(total, key, tensor)
    return total.hexdigest()


def _optimizer_digest(optimizer: torch.optim.Optimizer) -> str:
    """Return a digest of an optimiser's class, options and state, without the learning rate."""
    saved = optimizer.state_dict()
    groups = [[(k, v) for k, v in group.items() if k != "lr"] for group in saved["param_groups"]]
    total = hashlib.sha256(f"{type(optimizer).__name__} {groups}".encode())
    for number, state in sorted(saved["state"].items()):
        for key, value in sorted(state.items()):
            _add(total, f"{number} {key}", torch.as_tensor(0.0 if value is None else value))
    return total.hexdigest()


def _add(total: hashlib._Hash, key: str, tensor: Tensor) -> None:
    total.update(f"{key} {tensor.dtype} {list(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    total.update(flat.view(torch.uint8).numpy().tobytes())
