"""VGG19 with batch norm for small pictures, trained from nothing."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Data, Spec
from harness.runtime.recipe import Recipe, Selection, steps_per_epoch

from .network import Network

SCORE_BATCH = 500


class VGG19:
    """VGG19 with batch norm and one linear layer on 512 features.

    Args:
        width: channels of the first stage; the last has 8 times as many.
        steps: gradient steps of a whole training; 0 is as many as ``epochs`` need.
        epochs: epochs of a whole training.
        schedule: schedule of the learning rate; ``drops`` is a tenth after half of the steps, and
            again after three quarters.
        select: whether the state with the best validation accuracy is kept, in place of the last.
        recipe: further fields of the training recipe.
    """

    head = "head"
    stages = ("features.0", "features.1", "features.2", "features.3", "features.4")

    def __init__(
        self,
        *,
        width: int,
        steps: int,
        epochs: int,
        schedule: str,
        select: bool,
        **recipe: bool | float | str,
    ) -> None:
        self.width, self.steps, self.epochs = width, steps, epochs
        self.schedule, self.select, self.settings = schedule, select, recipe

    def build(self, spec: Spec) -> nn.Module:
        return Network(spec.outputs, self.width)

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
