"""Scores of attacks that look for the nearest wrong input, under a radius and without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge import nearest
from harness.judge.budget import BudgetFields, Distances, check_perturbation
from harness.judge.values import Metrics
from harness.results import codec

Array = NDArray[Any]


@dataclass(frozen=True)
class NearestInputs:
    """Inputs that an attack found, and which of them count under a cell's budget.

    An attacker with a radius gives up where the nearest wrong input that he found lies farther
    away: there the clean input counts in its place.

    Attributes:
        distances: of all inputs.
        lengths: of their changes in the budget's norm, float64 ``[N]``.
        within: which of them keep the radius, bool ``[N]``; all where there is none.
        budget: the budget of the cell.
    """

    distances: Distances
    lengths: NDArray[np.float64]
    within: NDArray[np.bool_]
    budget: BudgetFields

    @classmethod
    def of(cls, distances: Distances, budget: BudgetFields) -> NearestInputs:
        """Return them by what the judge measured."""
        lengths = nearest.lengths(distances, budget["norm"])
        every = np.ones(len(lengths), bool)
        eps = budget.get("eps")
        kept = every if eps is None else nearest.within(lengths, budget["norm"], eps)
        return cls(distances, lengths, kept, budget)

    @property
    def counted(self) -> Distances:
        """Distances of the inputs that keep the radius."""
        return self.distances.take(self.within)

    def violation(self) -> str | None:
        """Return a sentence on inputs that are none, such as pixels outside [0, 1]; or ``None``."""
        return check_perturbation(self.distances, {"unbounded": True})

    def after(self, outputs: Mapping[str, Array]) -> Array:
        """Return the outputs under attack: those on the clean input where an input is too far."""
        found = outputs["after"].copy()
        found[..., ~self.within, :] = outputs["before"][..., ~self.within, :]
        return found

    def notes(self) -> list[str]:
        """Return a sentence on the inputs that are too far away, if there are some."""
        far = int(np.sum(~self.within))
        what = f"{far} of {len(self.within)} inputs that the attack found lie beyond the radius"
        return [f"{what}; the clean input counts in their place"] if far else []

    def figures(self, outcomes: Mapping[str, Array]) -> tuple[Metrics, dict[str, str | int]]:
        """Return the figures on distances, and the distances for the record; none under a radius.

        Args:
            outcomes: outcome bits of the cell, bool ``[N]``.
        """
        if not self.budget.get("minimal"):
            return {}, {}
        found = nearest.nearest(outcomes["before"], outcomes["after"], self.lengths)
        return nearest.distance_figures(found), {"distances": codec.pack_distances(found)}
