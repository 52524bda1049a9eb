"""Residual networks for small pictures, with the networks released for CIFAR-10."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe, Selection, steps_per_epoch

from .network import Network

SCORE_BATCH = 500


class CifarResNet:
    """Residual network of three stages, trained as He et al. (2016) trained theirs.

    Args:
        depth: number of layers, 6n + 2.
        width: channels of the first stage; the others have 2 and 4 times as many.
        shortcut: ``pad`` (option A) or ``projection`` (option B).
        init: first weights, ``fan_in`` or ``fan_out``, see ``Network``.
        statistics: mean and deviation of inputs, ``imagenet`` or ``cifar10``.
        steps: gradient steps of a whole training; 0 is as many as ``epochs`` need.
        epochs: epochs of a whole training.
        schedule: schedule of the learning rate; ``drops`` is a tenth after half of the steps, and
            again after three quarters.
        select: whether the state with the best validation accuracy is kept, in place of the last.
        recipe: further fields of the training recipe.
    """

    head = "linear"
    stages = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        *,
        depth: int,
        width: int,
        shortcut: str,
        init: str,
        statistics: str,
        steps: int,
        epochs: int,
        schedule: str,
        select: bool,
        **recipe: bool | float | str,
    ) -> None:
        self.blocks, self.network = (depth - 2) // 6, (width, shortcut, init, statistics)
        self.steps, self.epochs, self.schedule = steps, epochs, schedule
        self.select, self.settings = select, recipe

    def build(self, spec: Spec) -> nn.Module:
        return Network(self.blocks, spec.outputs, *self.network)

    def recipe(self, train: Data) -> Recipe:
        epoch = steps_per_epoch(len(train), self.settings["batch"])
        steps = self.steps or self.epochs * epoch
        drops = self.schedule == "drops"
        return Recipe(
            steps=steps,
            head=self.head,
            schedule="constant" if drops else self.schedule,
            milestones=(steps // 2, steps * 3 // 4) if drops else (),
            selection=Selection("val_accuracy", epoch, accuracy) if self.select else None,
            log_every=epoch,
            **self.settings,
        )


def accuracy(network: nn.Module, data: Data) -> float:
    """Return the share of a set that a network in eval mode gets right, from 0 to 1."""
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in data.batches(SCORE_BATCH))
    return right / len(data)
