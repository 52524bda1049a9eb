"""A ResNet-20 for CIFAR-sized inputs, trained for a few seconds on enlarged digits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness import datasets


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.skip = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.skip(x))


def resnet20() -> nn.Module:
    """He et al. 2016, §4.2, three stages of three blocks."""
    blocks: list[nn.Module] = []
    width = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for k in range(3):
            blocks.append(Block(width, outputs, stride if k == 0 else 1))
            width = outputs
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def enlarged(split: datasets.Split) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(split.x).float() / 255
    x = F.interpolate(x, size=32, mode="bilinear").repeat(1, 3, 1, 1)
    return x, torch.from_numpy(split.y)


def trained_resnet20(root, steps: int = 120) -> tuple[nn.Module, Tensor, Tensor]:
    """The network in eval mode, and the test inputs with labels."""
    splits = datasets.load("digits", root)
    torch.manual_seed(0)
    network = resnet20()
    x, y = enlarged(splits.train)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        loss = F.cross_entropy(network(x[rows] + 0.05 * torch.randn_like(x[rows])), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    test_x, test_y = enlarged(splits.test)
    return network.eval(), test_x, test_y
