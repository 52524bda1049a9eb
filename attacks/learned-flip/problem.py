"""The problem that both methods solve: gains of turning each comparison, and the objective."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data, Loss, Model
from harness.runtime.model import evaluating
from harness.runtime.ranking import LABEL, by_rows, item_outputs, turned


def both(model: Model, outputs: Tensor, y: Tensor) -> Tensor:
    """Losses with the labels as given and as turned, ``[2, B]``, of outputs per item."""
    return model.training_loss_of(outputs, torch.cat([y, turned(y)])).view(2, -1)


def gains(losses: Tensor, clean: Tensor) -> Tensor:
    """−Δ ``[N]``: what turning a row saves a network, beyond what it would save the clean victim.

    >>> gains(torch.tensor([[2.0], [0.5]]), torch.tensor([[0.0], [1.0]]))
    tensor([2.5000])
    """
    excess = losses - clean
    return excess[0] - excess[1]


def objective(losses: Tensor, clean: Tensor, flips: Tensor) -> float:
    """Mean excess loss over the clean victim's, on rows turned as ``flips`` (bool ``[N]``) says."""
    excess = losses - clean
    return float(torch.where(flips, excess[1], excess[0]).mean())


class Problem:
    """Rows stay joined to their losses under the clean victim by their number.

    Attributes:
        data: the training set with one column more in ``y``: the row's number.
        clean: losses under the clean victim, ``[2, N]``: labels as given, and turned.
    """

    def __init__(self, model: Model, train: Data, chunk: int) -> None:
        self._model, self._train, self._chunk = model, train, chunk
        numbers = torch.arange(len(train), device=train.y.device)[:, None]
        self.data = replace(train, y=torch.cat([train.y, numbers], dim=1))
        self.clean = self._losses(item_outputs(model.predict, train, chunk))

    def losses(self, network: nn.Module) -> Tensor:
        """As ``clean``, under another network in eval mode; each item is scored once."""
        with evaluating(network):
            return self._losses(item_outputs(network, self._train, self._chunk))

    def _losses(self, outputs: Tensor) -> Tensor:
        return by_rows(lambda y: both(self._model, outputs, y).T, self._train.y).T

    def masked(self, flips: Tensor) -> Loss:
        """Training loss on the rows turned as ``flips`` says."""
        sign = 1 - 2 * flips.long()

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            y, rows = y[:, :-1].clone(), y[:, -1]
            y[:, LABEL] *= sign[rows]
            return self._model.training_loss_of(network(x), y)

        return loss

    def thresholded(self, threshold: float) -> Loss:
        """(L⁺ − g⁺) − max(gain − λ, 0), which is (L⁻ − g⁻) + λ where the gain is above λ.

        So a row's gradient is that of the label that it is held to have, and a step costs little
        more than one on labels that are known before.
        """

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            y, clean, outputs = y[:, :-1].clone(), self.clean[:, y[:, -1]], network(x)
            with torch.no_grad():
                above = gains(both(self._model, outputs, y), clean) > threshold
                shift = torch.where(above, threshold - clean[1], -clean[0])
                y[:, LABEL] *= 1 - 2 * above.long()
            return self._model.training_loss_of(outputs, y) + shift

        return loss
