"""Random numbers of HopSkipJump: the noise that it starts from, and the boundary's normal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from harness.runtime.contracts import Context
from harness.runtime.gradients import like_rows, steepest
from harness.runtime.label_queries import LabelQueries

from .geometry import Geometry

NUMBERS = 2**16
"""Numbers of a row that are drawn at once; a fixed one, so that a row's numbers depend on nothing
else."""


@dataclass(frozen=True)
class Probes:
    """Probes of a round.

    Attributes:
        geometry: what the norm decides.
        round: number of the round, from 1.
        number: probes of a row that has all of its queries.
        most: probes of each row, ``[R]``, at least 1.
        delta: their Euclidean length, ``[R]``.
    """

    geometry: Geometry
    round: int
    number: int
    most: Tensor
    delta: Tensor


def noise(x: Tensor, trial: int, ctx: Context) -> Tensor:
    """Draw an input of noise for each row, ``[B, …]``.

    The first is uniform on [0, 1], as the paper's. Where a network sees one class in all such
    noise, the examples of that class would have no start: later trials draw from between two
    random levels, too.
    """
    uniform = partial(torch.rand, generator=ctx.generator("start", trial))
    drawn = ctx.draw(x.shape, uniform).to(x)
    if trial == 0:
        return drawn
    low, high = (like_rows(one, x) for one in ctx.draw((len(x), 2), uniform).to(x).unbind(1))
    return low + (high - low) * drawn


def estimate(
    queries: LabelQueries, edge: Tensor, rows: Tensor, probes: Probes, ctx: Context
) -> Tensor:
    """Estimate the boundary's normal by the answers to probes around it (equation 12).

    Args:
        queries: what is asked.
        edge: wrong inputs at the boundary of all rows, ``[B, …]``.
        rows: the rows to do it for, int64 ``[R]``.
        probes: the probes.
        ctx: source of their directions.

    Returns:
        Directions toward wrong inputs, of length 1 in the norm, ``[R, …]``.
    """
    point, most = edge[rows].unsqueeze(1), probes.most.unsqueeze(1)
    delta = probes.delta.view(-1, *[1] * edge.ndim)
    signed, plain = torch.zeros_like(edge[rows]), torch.zeros_like(edge[rows])
    score = torch.zeros_like(probes.delta)
    several = max(1, NUMBERS // edge[0].numel())
    sample = partial(probes.geometry.sample, generator=ctx.generator("probes", probes.round))
    for first in range(0, int(most.max()), several):
        # as many for each row as if no row had fewer queries left
        shape = (len(edge), min(several, probes.number - first), *edge.shape[1:])
        drawn = ctx.draw(shape, sample)[rows.cpu()].to(edge).flatten(2)
        drawn = drawn / drawn.norm(dim=2, keepdim=True).clamp_min(1e-30)
        points = (point + delta * drawn.view(len(rows), *shape[1:])).clamp(0, 1)
        asked = torch.arange(first, first + shape[1], device=edge.device) < most
        answers = torch.zeros(asked.shape, device=edge.device)
        places = rows.unsqueeze(1).expand_as(asked)[asked]
        answers[asked] = 2 * queries.wrong(points[asked], places).to(answers) - 1
        # what is left of a probe inside the box, after rounding
        change = (points - point) / delta
        signed += (like_probes(answers, change) * change).sum(dim=1)
        plain += (like_probes(asked, change) * change).sum(dim=1)
        score += answers.sum(dim=1)
    mean = score / probes.most
    # equal answers have no deviation from their mean
    baseline = like_rows(torch.where(mean.abs() < 1, mean, 0), plain)
    return steepest(signed - baseline * plain, probes.geometry.norm)


def like_probes(values: Tensor, change: Tensor) -> Tensor:
    """Return values of probes, ``[R, P]``, in a shape that broadcasts with ``[R, P, …]``."""
    return values.view(*values.shape, *[1] * (change.ndim - 2))
