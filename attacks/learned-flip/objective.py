"""Objective of both methods: excess losses over the clean victim, and gains of flips."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data, Loss, Model
from harness.runtime.model import eval_mode
from harness.runtime.ranking import LABEL, flip_labels, item_outputs, map_rows


def both(model: Model, outputs: Tensor, y: Tensor) -> Tensor:
    """Return losses with the labels as given and flipped, ``[2, B]``, from outputs of items."""
    return model.training_loss_of(outputs, torch.cat([y, flip_labels(y)])).view(2, -1)


def gains(losses: Tensor, clean: Tensor) -> Tensor:
    """Return −Δ ``[N]``, the excess loss that flipping a row saves, of losses ``[2, N]``.

    >>> gains(torch.tensor([[2.0], [0.5]]), torch.tensor([[0.0], [1.0]]))
    tensor([2.5000])
    """
    excess = losses - clean
    return excess[0] - excess[1]


def objective(losses: Tensor, clean: Tensor, flips: Tensor) -> float:
    """Return the mean excess loss over the clean victim with rows flipped by ``flips`` ``[N]``."""
    excess = losses - clean
    return float(torch.where(flips, excess[1], excess[0]).mean())


class FlipObjective:
    """Losses of a training set under networks and under the clean victim, joined by row number.

    Attributes:
        data: training set with the row number as one more column of ``y``.
        clean: losses of the clean victim, as given and flipped, ``[2, N]``.
    """

    def __init__(self, model: Model, train: Data, chunk: int) -> None:
        self._model, self._train, self._chunk = model, train, chunk
        numbers = torch.arange(len(train), device=train.y.device)[:, None]
        self.data = replace(train, y=torch.cat([train.y, numbers], dim=1))
        self.clean = self._losses(item_outputs(model.predict, train, chunk))

    def losses(self, network: nn.Module) -> Tensor:
        """Return the same of another network in eval mode, with one pass for each item."""
        with eval_mode(network):
            return self._losses(item_outputs(network, self._train, self._chunk))

    def _losses(self, outputs: Tensor) -> Tensor:
        return map_rows(lambda y: both(self._model, outputs, y).T, self._train.y).T

    def masked(self, flips: Tensor) -> Loss:
        """Return the training loss with rows flipped by ``flips``."""
        sign = 1 - 2 * flips.long()

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            y, rows = y[:, :-1].clone(), y[:, -1]
            y[:, LABEL] *= sign[rows]
            return self._model.training_loss_of(network(x), y)

        return loss

    def thresholded(self, threshold: float) -> Loss:
        """Return the loss (L⁺ − g⁺) − max(gain − λ, 0), or (L⁻ − g⁻) + λ above the threshold λ.

        A row's gradient is then that of one label, so a step costs little more than training.
        """

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            y, clean, outputs = y[:, :-1].clone(), self.clean[:, y[:, -1]], network(x)
            with torch.no_grad():
                above = gains(both(self._model, outputs, y), clean) > threshold
                shift = torch.where(above, threshold - clean[1], -clean[0])
                y[:, LABEL] *= 1 - 2 * above.long()
            return self._model.training_loss_of(outputs, y) + shift

        return loss
