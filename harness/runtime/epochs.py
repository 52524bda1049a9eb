"""Recipes of trainings that are counted in epochs, and the accuracy that may select a state."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.runtime.data import Data
from harness.runtime.model import eval_mode
from harness.runtime.recipe import Recipe, Selection, steps_per_epoch

DROPS = "drops"
"""Schedule: a tenth of the learning rate after half of the steps, and again after three quarters
(He et al., CVPR 2016)."""


def recipe_in_epochs(
    count: int,
    *,
    batch: int,
    steps: int,
    epochs: int,
    schedule: str,
    select: bool,
    measure_every: int = 0,
    **fields: Any,  # noqa: ANN401 - those of a recipe
) -> Recipe:
    """Return the recipe of a classifier's training, which is measured at the end of epochs.

    Args:
        count: number of training examples.
        batch: examples of a step.
        steps: gradient steps of the training; 0 is as many as ``epochs`` need.
        epochs: epochs of the training, where ``steps`` is 0.
        schedule: a row of ``recipe.SCHEDULES``, or ``DROPS``.
        select: whether the measured state with the best validation accuracy is kept, in place of
            the last.
        measure_every: steps between two measurements on validation data; 0 is an epoch. With few
            training examples an epoch costs less than to measure after it.
        fields: further fields of the recipe.
    """
    epoch = steps_per_epoch(count, batch)
    steps = steps or epochs * epoch
    every = measure_every or epoch
    drops = schedule == DROPS
    return Recipe(
        steps=steps,
        batch=batch,
        schedule="constant" if drops else schedule,
        milestones=(steps // 2, steps * 3 // 4) if drops else (),
        selection=Selection("val_accuracy", every, accuracy) if select else None,
        log_every=every,
        **fields,
    )


def accuracy(network: nn.Module, data: Data, batch: int = 500) -> float:
    """Return the share of a set that a classifier gets right in eval mode, from 0 to 1.

    Args:
        network: network with logits ``[B, K]``.
        data: examples, at least one.
        batch: examples of a pass.
    """
    with eval_mode(network), torch.no_grad():
        hits = [(network(x).argmax(dim=1) == y).sum() for x, y in data.batches(batch)]
    return int(torch.stack(hits).sum()) / len(data)
