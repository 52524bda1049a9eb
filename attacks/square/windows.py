"""Square Attack's changes of one window: how large, where, and by how much, in L∞ and L2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from harness.runtime.gradients import Draw, Radius, project

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations, of 10,000, after which p is halved (the paper's schedule)."""


class Chance(NamedTuple):
    """Source of random numbers of a search.

    Attributes:
        generator: what draws; windows are of all rows, signs of each.
        draw: ``ctx.draw``, which makes a row's signs independent of the other rows.
    """

    generator: Generator
    draw: Draw


def p_selection(p_init: float, progress: float) -> float:
    """Return the share of pixels that a square covers after a part of the search."""
    return p_init * 0.5 ** sum(progress * 10_000 > iteration for iteration in HALVINGS)


def window_side(p: float, shape: torch.Size) -> int:
    """Return the side of a window that covers the share ``p`` of the pixels of ``[B, C, H, W]``."""
    return max(1, min(round(math.sqrt(p * shape[2] * shape[3])), *(n - 1 for n in shape[2:])))


def random_signs(shape: tuple[int, ...], like: Tensor, chance: Chance) -> Tensor:
    """Draw +1 and -1 with equal chance."""
    source = chance.generator
    drawn = chance.draw(shape, lambda whole: torch.randint(2, tuple(whole), generator=source))
    return (drawn * 2 - 1).to(like)


def random_window(shape: torch.Size, h: int, chance: Chance) -> tuple[slice, slice]:
    """Draw the rows and columns of an h x h window of ``[B, C, H, W]``."""
    r, s = (int(torch.randint(n - h + 1, (), generator=chance.generator)) for n in shape[2:])
    return slice(r, r + h), slice(s, s + h)


def vertical_stripes(x: Tensor, eps: Radius, chance: Chance) -> Tensor:
    """Initialise in L∞: every column of every channel by ±eps."""
    batch, channels, _, width = x.shape
    return (x + eps * random_signs((batch, channels, 1, width), x, chance)).clamp(0, 1)


def sample_linf(
    best: Tensor, x: Tensor, eps: Radius, h: int, chance: Chance, rows: Tensor
) -> Tensor:
    """Sample in L∞ (algorithm 2): one window by ±eps, a sign a channel."""
    r, s = random_window(x.shape, h, chance)
    signs = random_signs((len(x), x.shape[1], 1, 1), x, chance)[rows]
    x_new, clean = best[rows], x[rows][:, :, r, s]
    old, new = x_new[:, :, r, s], (clean + eps * signs).clamp(0, 1)
    # a query must not be wasted on what is there already
    same = (old == new).flatten(1).all(dim=1)
    new[same] = (clean - eps * signs)[same].clamp(0, 1)
    x_new[:, :, r, s] = new
    return x_new


def eta(h: int, like: Tensor, chance: Chance) -> Tensor:
    """Return η of the paper, of length 1, ``[h, h]``: two rectangles of opposite sign, or ηᵀ."""
    half = h // 2
    both = torch.cat([eta_rectangle(half, h), -eta_rectangle(h - half, h)])
    both = both / both.norm()
    return (both if torch.rand((), generator=chance.generator) < 0.5 else both.T).to(like)


def eta_rectangle(h1: int, h2: int) -> Tensor:
    """Return η^(h1, h2), of length 1: centred rectangles, the k-th smallest 1/k² high, added."""
    r, s = (torch.arange(h1) - h1 // 2).abs(), (torch.arange(h2) - h2 // 2).abs()
    heights = 1 / torch.arange(1, max(h1, h2) // 2 + 2) ** 2
    # a pixel at distance d from the centre lies in every rectangle from the d-th on: suffix sums
    added = heights.flip(0).cumsum(0).flip(0)[torch.maximum(r[:, None], s[None, :])]
    return added / added.norm()


def lengths(x: Tensor, *dims: int) -> Tensor:
    """Return L2 lengths over some dimensions, which are kept; never zero."""
    return torch.linalg.vector_norm(x, dim=dims, keepdim=True).clamp_min(1e-10)


def eta_tiling(x: Tensor, eps: Radius, chance: Chance) -> Tensor:
    """Initialise in L2: a grid of tiles with an η each."""
    h, delta = max(3, min(x.shape[2:]) // 5), torch.zeros_like(x)
    for r in range(0, x.shape[2] - h + 1, h):
        for s in range(0, x.shape[3] - h + 1, h):
            signs = random_signs((*x.shape[:2], 1, 1), x, chance)
            delta[:, :, r : r + h, s : s + h] = eta(h, x, chance) * signs
    return project(x + eps * delta / lengths(delta, 1, 2, 3), x, "l2", eps)


def sample_l2(best: Tensor, x: Tensor, eps: Radius, h: int, chance: Chance, rows: Tensor) -> Tensor:
    """Sample in L2 (algorithm 3): the mass of window W2, and the unused radius, go to W1 as η."""
    h = min(max(3, h + (h % 2 == 0)), *x.shape[2:])
    w1, w2 = random_window(x.shape, h, chance), random_window(x.shape, h, chance)
    rho = random_signs((*x.shape[:2], 1, 1), x, chance)[rows]
    nu = (best - x)[rows]
    # squared radius that best has not used, split over the channels
    unused = (eps**2 - lengths(nu, 1, 2, 3) ** 2).clamp_min(0) / x.shape[1]
    union = torch.zeros_like(nu)
    for r, s in (w1, w2):
        union[:, :, r, s] = nu[:, :, r, s]
    old = nu[:, :, w1[0], w1[1]]
    new = eta(h, x, chance) * rho + old / lengths(old, 2, 3)
    new = new / lengths(new, 2, 3) * (unused + lengths(union, 2, 3) ** 2).sqrt()
    # W1 is written last, as the windows may overlap; then the change fills the radius again
    nu[:, :, w2[0], w2[1]] = 0
    nu[:, :, w1[0], w1[1]] = new
    nu = eps * nu / lengths(nu, 1, 2, 3)
    return project(x[rows] + nu, x[rows], "l2", eps)


class Distribution(NamedTuple):
    """Initialisation and sampling distribution P of a norm."""

    initialize: Callable[[Tensor, Radius, Chance], Tensor]
    sample: Callable[[Tensor, Tensor, Radius, int, Chance, Tensor], Tensor]


DISTRIBUTIONS = {
    "linf": Distribution(vertical_stripes, sample_linf),
    "l2": Distribution(eta_tiling, sample_l2),
}
