"""The nearest inputs of a search that are as the attacker wants them, one for each row."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.runtime.gradients import like_rows


class Nearest:
    """Keeps each row's nearest success, and the clean input where there is none.

    Args:
        x: clean inputs, ``[B, …]``.

    Attributes:
        inputs: nearest successes so far, ``[B, …]``.
        lengths: their distances, infinite without one, ``[B]``.

    >>> found = Nearest(torch.zeros(2, 1))
    >>> found.keep(torch.ones(2, 1), torch.tensor([0.5, 0.5]), torch.tensor([True, False]))
    >>> found.inputs.tolist(), found.lengths.tolist()
    ([[1.0], [0.0]], [0.5, inf])
    """

    def __init__(self, x: Tensor) -> None:
        self.inputs = x.clone()
        self.lengths = torch.full((len(x),), torch.inf, device=x.device)

    def keep(self, x_adv: Tensor, lengths: Tensor, success: Tensor) -> None:
        """Keep the successes that are nearer than those so far.

        Args:
            x_adv: inputs, ``[B, …]``.
            lengths: their distances from the clean inputs, ``[B]``.
            success: which of them are as the attacker wants them, bool ``[B]``.
        """
        nearer = success & (lengths < self.lengths)
        self.lengths = torch.where(nearer, lengths, self.lengths)
        self.inputs = torch.where(like_rows(nearer, x_adv), x_adv, self.inputs)
