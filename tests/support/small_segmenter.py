"""A small segmentation network and its data, for tests of attacks on maps of labels."""

import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import Budget, Data, Spec

SEGMENTATION = Spec("segmentation", 4, (3, 10, 14), void=255)
EIGHT = Budget(norm="linf", eps=8 / 255)


def trained_segmenter():
    """A segmentation network of four classes in eval mode, and a set that it was trained on."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    coarse = torch.rand(24, 3, 4, 5, generator=random)
    raw = (F.interpolate(coarse, (10, 14), mode="bilinear") * 255).to(torch.uint8)
    y = (raw.float().mean(1) / 64).clamp_max(3).to(torch.uint8)
    y[:, 0] = 255
    data = Data(raw, y, torch.arange(24), SEGMENTATION, torch.device("cpu"))
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 1)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(60):
        loss = F.cross_entropy(network(data.x), y.long(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval(), data


def right(network, x, y):
    """Right pixels of each picture."""
    with torch.no_grad():
        return ((network(x).argmax(1) == y) & (y != 255)).flatten(1).sum(1)
