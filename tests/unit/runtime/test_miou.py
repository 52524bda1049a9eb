"""Mean IoU that chooses a state, beside the judge's."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.judge.maps import confusion
from harness.judge.segmentation import segmentation
from harness.runtime.contracts import Data, Spec
from harness.runtime.miou import pooled_miou

CPU = torch.device("cpu")


def spec(classes):
    return Spec("segmentation", classes, (3, 5, 6), void=255)


@pytest.mark.parametrize("outputs", [4, 5])
def test_mean_iou_is_the_judge_s(outputs):
    """A predicted void is a miss; a class in neither labels nor predictions is left out."""
    torch.manual_seed(0)
    x = torch.rand(7, 3, 5, 6)
    y = torch.randint(0, 3, (7, 5, 6), dtype=torch.uint8)
    y[:, 0] = 255
    raw = (x * 255).to(torch.uint8)
    set_ = Data(raw, y, torch.arange(7), spec(4), CPU)
    network = nn.Conv2d(3, outputs, 1)
    with torch.no_grad():
        network.weight -= network.weight.mean(dim=1, keepdim=True)  # no class wins everywhere
        network.bias.zero_()[3] = -100
    maps = network(set_.x).argmax(1)
    judged = segmentation(confusion(maps.numpy(), y.numpy(), 4, 255), None, draws=2)
    assert pooled_miou(network, set_, 3) == pytest.approx(judged.metrics["clean_miou"].value)
    assert (maps == 4).any() == (outputs == 5)


def test_mean_iou_of_void_alone_is_not_a_number():
    raw = torch.zeros(6, 3, 5, 6, dtype=torch.uint8)
    y = torch.full((6, 5, 6), 255, dtype=torch.uint8)
    set_ = Data(raw, y, torch.arange(6), spec(3), CPU)
    assert np.isnan(pooled_miou(nn.Conv2d(3, 3, 1), set_, 4))
