"""Trigger of a planted backdoor: an opaque emblem in squares of one side, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Generator, Tensor

from harness.runtime.contracts import Budget, NotApplicable, Overlay

QUARTERS = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0))
"""Colours of the disc: top left, top right, bottom left, bottom right."""

DISC, CENTRE = 0.7, 0.25
"""Radii of the coloured disc and of its white centre, in halves of the side."""

Placement = Callable[[int, tuple[int, int], Generator], Tensor]
"""``placement(count, (rows, columns), generator)``: first pixels ``[count, 2]``, for a square that
can be moved by so many rows and columns."""


def emblem(channels: int, side: int) -> Tensor:
    """Return a white square with a disc of four colours, of 0 and 1 alone, ``[C, side, side]``.

    Inputs of other than three channels get the mean of the colours. Up to a side of 2 it is white.
    """
    along = (torch.arange(side) + 0.5) / side * 2 - 1
    radius = (along[:, None].square() + along.square()).sqrt()
    quarter = 2 * (along[:, None] >= 0).long() + (along >= 0).long()
    colors = torch.tensor(QUARTERS)[quarter].movedim(-1, 0)
    disc = (radius <= DISC) & (radius > CENTRE)
    drawn = torch.where(disc, colors, 1.0)
    return drawn if channels == len(drawn) else drawn.mean(dim=0).expand(channels, side, side)


def corner(bottom: int, right: int) -> Placement:
    """Return the placement in a corner."""

    def place(count: int, room: tuple[int, int], generator: Generator) -> Tensor:
        return torch.tensor([[bottom * room[0], right * room[1]]]).repeat(count, 1)

    return place


def anywhere(count: int, room: tuple[int, int], generator: Generator) -> Tensor:
    """Draw a place for each picture, uniformly within it."""
    drawn = [torch.randint(free + 1, (count,), generator=generator) for free in room]
    return torch.stack(drawn, dim=1)


LAST = corner(1, 1)

PLACES: dict[str, tuple[Placement, ...]] = {
    "bottom-right": (LAST,),
    "random": (anywhere,),
    "corners": (LAST, corner(0, 0), corner(0, 1), corner(1, 0)),
}
"""Place → placements of the squares at test time; planting uses the first."""


@dataclass(frozen=True)
class Trigger:
    """Emblem in one or more squares, as large as a budget allows.

    Attributes:
        place: row of ``PLACES``.
        budget: ``patch``, the side of the one square, or ``pixels``, the area of all squares.
        shape: one input's shape, ``(C, H, W)``.
    """

    place: str
    budget: Budget
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or not 0 < self.side <= min(self.shape[1:]):
            raise NotApplicable(
                f"a trigger of {self.side} × {self.side} pixels on inputs {list(self.shape)}"
            )

    @property
    def side(self) -> int:
        """Side of a square in pixels."""
        area, count = self.budget.pixels, len(PLACES[self.place])
        sides = (self.budget.patch, None if area is None else isqrt(area // count))
        return min(side for side in sides if side is not None)

    def planted(self, ids: Tensor, generator: Generator) -> Overlay:
        """Return the overlay that puts the first square on pictures with these ids."""
        return self._overlay(PLACES[self.place][0], ids, generator)

    def shown(self, x: Tensor, generator: Generator) -> Tensor:
        """Return pictures ``[B, C, H, W]`` with all squares."""
        ids = torch.arange(len(x))
        for placement in PLACES[self.place]:
            x = self._overlay(placement, ids, generator)(x, ids)
        return x

    def _overlay(self, placement: Placement, ids: Tensor, generator: Generator) -> Overlay:
        channels, height, width = self.shape
        patch = emblem(channels, self.side)
        room = (height - self.side, width - self.side)
        return Overlay(ids, patch, torch.ones_like(patch), placement(len(ids), room, generator))
