"""A network that bends often, so that searches depend on where they start."""

import torch
from torch import nn

from harness.runtime.contracts import Spec

SPEC = Spec("classification", 5, (1, 6, 6))


def bent():
    """The network, in eval mode, with margins that short searches cross on some inputs."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 20), nn.Tanh(), nn.Linear(20, 5)
    )
    with torch.no_grad():
        made[0].weight.mul_(4)
        made[3].weight.mul_(4)
        made[5].bias.zero_()
    return made.eval()
