"""What tests of ``attacks/transfer`` share: a network, a training set, one call of the attack."""

import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.model import freeze
from harness.runtime.worker.batches import Batch
from tests.support.modules import context, live, module, part

mixing = part("attack", "transfer", "mixing")

SPEC = Spec("classification", 5, (3, 10, 10))
EPS = 0.03


def smooth_network(gain=1.0):
    """A small smooth network, inputs so far from 0 and 1 that no copy is cut off, its answers.

    The larger ``gain``, the more the gradient turns within a ball.
    """
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 64, 5))
    network[0].weight.data *= gain
    x = 0.4 + 0.2 * torch.rand(20, 3, 10, 10)
    return freeze(network), x, network(x).argmax(1)


def whole(folder):
    """The context of a batch of twenty rows, and that batch."""
    rows = torch.arange(20)
    return context(folder, SPEC), Batch(rows, 0, 20, rows)


def perturbed(given, folder, variant=None, *, norm="linf", eps=EPS, goal=None, rows=None, **params):
    """What the attack finds for some rows of a batch."""
    network, x, y = given
    ctx, own = context(folder, SPEC), module("attack", "transfer", variant, **params)
    rows = torch.arange(len(x)) if rows is None else rows
    if own.admix and not (folder / mixing.FILE).exists():
        own.learn(None, train_set(), train_set(), Budget(norm=norm, eps=eps), ctx)
    goal = goal if goal is None else goal[rows]
    with ctx.batch(Batch(rows, 0, len(x), rows)):
        model = live(network, SPEC)
        return own.perturb(model, x[rows], y[rows], goal, Budget(norm=norm, eps=eps), ctx)


def train_set():
    generator = torch.Generator().manual_seed(2)
    raw = torch.randint(256, (60, *SPEC.shape), generator=generator).to(torch.uint8)
    return Data(raw, torch.arange(60) % 5, torch.arange(60), SPEC, torch.device("cpu"))


def by_torch(row, size, top, left, changes, probability, rate):
    """One row, resized and padded by torch."""
    if changes >= probability:
        return row
    side, other = row.shape[-1], round(row.shape[-1] * rate)
    low, high = sorted((side, other))
    size = low + int(size * (high - low))
    top, left = (int(one * (high - size + 1)) for one in (top, left))
    small = F.interpolate(row[None], (size, size), mode="bilinear", align_corners=False)
    padded = F.pad(small, [left, high - size - left, top, high - size - top])
    return F.interpolate(padded, (side, side), mode="bilinear", align_corners=False)[0]
