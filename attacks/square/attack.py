"""Square attack: random search with squares, from scores alone (Andriushchenko et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, Context, Model, NotApplicable
from harness.runtime.gradients import ball, project

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations, of 10,000, after which the squares' area is halved (the paper's schedule)."""

MARGIN = 1e-4
"""How far over the border, in logits, an example has to be before it is left alone."""


class Square:
    """Keeps a change of one square wherever it lowers the margin; one query a row and iteration.

    Args:
        share: part of the picture that the first squares cover.
        iterations: queries per example at most; an oracle's limit comes first.
    """

    def __init__(self, *, share: float, iterations: int) -> None:
        self.share, self.iterations = share, iterations

    def perturb(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        goal: Tensor | None,
        budget: Budget,
        ctx: Context,
    ) -> Tensor:
        if budget.answers == "labels":
            raise NotApplicable("the square attack needs scores; this oracle answers labels only")
        norm, eps = ball(budget)
        moves, generator = MOVES[norm], ctx.generator("squares")
        allowed = torch.full((len(x),), self.iterations, device=x.device)
        left = model.left()
        if left is not None:
            allowed = torch.minimum(allowed, left)

        def margins(tried: Tensor, rows: Tensor) -> Tensor:
            labels = (y if goal is None else goal)[rows]
            return margin(model.predict(tried, rows), labels, targeted=goal is not None)

        best, value = x.clone(), torch.full((len(x),), torch.inf, device=x.device)
        for used in range(int(allowed.max())):
            rows = ((value >= -MARGIN) & (used < allowed)).nonzero().flatten()
            if len(rows) == 0:
                break
            # chance is drawn for all rows, so that none depends on the others' success
            if used == 0:
                tried = moves.first(x, eps, generator)[rows]
            else:
                side = self.side(used / int(allowed.max()), x.shape)
                tried = moves.next(best, x, eps, side, generator, rows)
            now = margins(tried, rows)
            better = now < value[rows]
            best[rows[better]], value[rows[better]] = tried[better], now[better]
        return best

    def side(self, part: float, shape: torch.Size) -> int:
        """Side of the squares after a part of the search."""
        halved = sum(part * 10_000 > iteration for iteration in HALVINGS)
        area = self.share * 0.5**halved * shape[2] * shape[3]
        return max(1, min(round(math.sqrt(area)), *(size - 1 for size in shape[2:])))


def margin(scores: Tensor, labels: Tensor, *, targeted: bool) -> Tensor:
    """What is lowered, ``[B]``; below zero the row is fooled."""
    own = scores.gather(1, labels[:, None]).squeeze(1)
    others = scores.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return others - own if targeted else own - others


def coins(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Random signs."""
    return (torch.randint(2, shape, generator=generator) * 2 - 1).to(like)


def window(shape: torch.Size, side: int, generator: torch.Generator) -> tuple[slice, slice]:
    """A random square of the picture."""
    top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in shape[2:])
    return slice(top, top + side), slice(left, left + side)


def stripes(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """L∞ start: every column of every channel by ±eps."""
    batch, channels, _, width = x.shape
    return (x + eps * coins((batch, channels, 1, width), x, generator)).clamp(0, 1)


def square(
    best: Tensor, x: Tensor, eps: float, side: int, generator: torch.Generator, rows: Tensor
) -> Tensor:
    """L∞ move: one square by ±eps, a sign a channel."""
    down, across = window(x.shape, side, generator)
    signs = coins((len(x), x.shape[1], 1, 1), x, generator)[rows]
    tried, clean = best[rows], x[rows][:, :, down, across]
    old, new = tried[:, :, down, across], (clean + eps * signs).clamp(0, 1)
    # a query must not be wasted on what is there already
    same = (old == new).flatten(1).all(dim=1)
    new[same] = (clean - eps * signs)[same].clamp(0, 1)
    tried[:, :, down, across] = new
    return tried


def dipole(side: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Two bumps of opposite sign side by side, of length 1, ``[side, side]``."""
    half = side // 2
    bumps = torch.cat([bump(half, side), -bump(side - half, side)])
    bumps = bumps / bumps.norm()
    return (bumps if torch.rand((), generator=generator) < 0.5 else bumps.T).to(like)


def bump(height: int, width: int) -> Tensor:
    """Centred squares, the k-th smallest of height 1/k², on each other; of length 1."""
    down = (torch.arange(height) - height // 2).abs()
    across = (torch.arange(width) - width // 2).abs()
    layers = 1 / torch.arange(1, max(height, width) // 2 + 2) ** 2
    heights = layers.flip(0).cumsum(0).flip(0)[torch.maximum(down[:, None], across[None, :])]
    return heights / heights.norm()


def lengths(x: Tensor, *dims: int) -> Tensor:
    """L2 lengths over some dimensions, which are kept; never zero."""
    return torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp_min(1e-10)


def tiles(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """L2 start: a dipole on every tile."""
    side, delta = max(3, min(x.shape[2:]) // 5), torch.zeros_like(x)
    for top in range(0, x.shape[2] - side + 1, side):
        for left in range(0, x.shape[3] - side + 1, side):
            signs = coins((*x.shape[:2], 1, 1), x, generator)
            part = dipole(side, x, generator) * signs
            delta[:, :, top : top + side, left : left + side] = part
    return project(x + eps * delta / lengths(delta, 1, 2, 3), x, "l2", eps)


def transfer(
    best: Tensor, x: Tensor, eps: float, side: int, generator: torch.Generator, rows: Tensor
) -> Tensor:
    """L2 move: what one square holds, and what is left of the radius, goes into a dipole."""
    side = min(max(3, side + (side % 2 == 0)), *x.shape[2:])
    to, source = window(x.shape, side, generator), window(x.shape, side, generator)
    signs = coins((*x.shape[:2], 1, 1), x, generator)[rows]
    delta = (best - x)[rows]
    free = (eps**2 - lengths(delta, 1, 2, 3) ** 2).clamp_min(0) / x.shape[1]
    both = torch.zeros_like(delta)
    for down, across in (to, source):
        both[:, :, down, across] = delta[:, :, down, across]
    old = delta[:, :, to[0], to[1]]
    new = dipole(side, x, generator) * signs + old / lengths(old, 2, 3)
    new = new / lengths(new, 2, 3) * (free + lengths(both, 2, 3) ** 2).sqrt()
    delta[:, :, source[0], source[1]] = 0
    delta[:, :, to[0], to[1]] = new
    delta = eps * delta / lengths(delta, 1, 2, 3)
    return project(x[rows] + delta, x[rows], "l2", eps)


class Moves(NamedTuple):
    """How a search starts and goes on under a norm."""

    first: Callable[[Tensor, float, torch.Generator], Tensor]
    next: Callable[[Tensor, Tensor, float, int, torch.Generator, Tensor], Tensor]


MOVES = {"linf": Moves(stripes, square), "l2": Moves(tiles, transfer)}
