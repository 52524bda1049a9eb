"""Training recipes as data, which a defence can change field by field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda part: 1.0,
    "cosine": lambda part: 0.5 * (1 + math.cos(math.pi * part)),
    "linear": lambda part: 1.0 - part,
}
"""Schedule → factor of the learning rate, as a function of the share of the training done."""

Projection = Callable[[nn.Module, int], None]
"""``project(network, step)``: changes the network in place, after a number of steps."""

DECAY = 0.1
"""Factor of the learning rate at each milestone."""


@dataclass(frozen=True)
class Selection:
    """Choice of the best state in place of the last.

    Attributes:
        name: name of the score's curve.
        every: steps between two scores, at least 1; the last step is scored as well.
        score: ``score(network, val)``, called in eval mode and without gradients, on a validation
            set (``contracts.Data``) that is not empty; higher is better. NaN is never the best, and
            the earliest of equal scores wins. If all are NaN, the network stays as it is after the
            last step.
    """

    name: str
    every: int
    score: Callable[[nn.Module, Any], float]

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"selection every {self.every}: expected at least 1 step")


@dataclass(frozen=True)
class Average:
    """Stochastic weight averaging (Izmailov et al., UAI 2018).

    The network ends with the mean of snapshots of its parameters, and with batch-norm statistics
    that one pass over the training set estimates anew, in train mode.

    Attributes:
        start: steps before averaging begins.
        every: steps between two snapshots; the first is taken at step ``start + every``.
    """

    start: int
    every: int

    def __post_init__(self) -> None:
        if self.start < 0 or self.every < 1:
            raise ValueError(
                f"average from step {self.start} every {self.every}: expected 0 or more, and 1 or "
                "more steps"
            )

    def due(self, step: int) -> bool:
        """Return whether a snapshot is taken after a number of steps."""
        return step > self.start and (step - self.start) % self.every == 0


@dataclass(frozen=True)
class Recipe:
    """Recipe of a training: all that decides it beside network, data, loss and seed.

    Attributes:
        steps: gradient steps, over as many epochs as they need.
        batch: examples (in ranking: comparisons) of a step.
        lr: learning rate at the first step.
        optimizer: ``sgd`` or ``adam``.
        momentum: momentum of SGD.
        nesterov: whether SGD's momentum is Nesterov's.
        weight_decay: L2 penalty on all parameters, as ``torch.optim`` defines it.
        head: path of the network's last layer, for ``head_lr``.
        head_lr: factor of the learning rate of the head's parameters.
        linear_decay: further L2 penalty on the parameters of linear layers.
        label_smoothing: share of a label that is spread over all classes by ``training.loss_of``.
        schedule: course of the learning rate, a row of ``SCHEDULES``.
        milestones: steps after which the learning rate falls to a tenth, whatever the schedule.
        crop: how training images are cropped, a row of ``augment.CROPS``.
        flip: whether half of the training images are mirrored.
        selection: choice of the best state, or ``None`` for the last one.
        average: average of weights, or ``None``.
        project: function that keeps the network in a set, such as that of networks with some
            weights at zero, or ``None``. It is called after each step, and once before the first
            step of a run, which may resume a killed one: what it depends on beyond its arguments
            must be read from the network then, or be the same in each run.
        log_every: steps between two points of the training curve.
    """

    steps: int
    batch: int
    lr: float
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    head: str = ""
    head_lr: float = 1.0
    linear_decay: float = 0.0
    label_smoothing: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    crop: str = "none"
    flip: bool = False
    selection: Selection | None = None
    average: Average | None = None
    project: Projection | None = None
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            known = ", ".join(SCHEDULES)
            raise ValueError(f"schedule {self.schedule!r}: expected one of {known}")
        if self.head_lr != 1 and not self.head:
            raise ValueError("head_lr needs the path of the head")
        if self.average is not None and self.selection is not None:
            raise ValueError("a recipe averages weights or selects the best state, not both")
        if self.average is not None and self.average.start + self.average.every > self.steps:
            raise ValueError(
                f"{self.steps} steps end before the first snapshot of weights, at step "
                f"{self.average.start + self.average.every}"
            )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, which is counted from 0, without ``head_lr``."""
        passed = sum(step >= milestone for milestone in self.milestones)
        return self.lr * SCHEDULES[self.schedule](step / self.steps) * DECAY**passed

    def facts(self) -> dict[str, object]:
        """Return the fields as JSON values; names and flags stand for functions."""
        found = dict(vars(self)) | {"project": self.project is not None}
        if self.selection is not None:
            found["selection"] = [self.selection.name, self.selection.every]
        if self.average is not None:
            found["average"] = [self.average.start, self.average.every]
        return found


def every_epochs(epochs: int, epoch: int, steps: int) -> tuple[int, ...]:
    """Return milestones at the same distance, before a training's end; none where it is 0.

    Args:
        epochs: epochs between two milestones.
        epoch: steps of an epoch.
        steps: steps of the training.

    >>> every_epochs(2, 10, 50), every_epochs(0, 10, 50)
    ((20, 40), ())
    """
    return tuple(range(epochs * epoch, steps, epochs * epoch)) if epochs else ()


def steps_per_epoch(count: int, batch: int) -> int:
    """Return the steps of an epoch; a last batch of one example is left out.

    >>> steps_per_epoch(50, 8), steps_per_epoch(49, 8), steps_per_epoch(1, 8)
    (7, 6, 1)
    """
    return max(1, count // batch + (count % batch > 1))
