"""The sanitizer of nearest neighbours reads large pictures in parts, in a small form."""

from dataclasses import replace

import pytest
import torch

from harness.runtime.contracts import Data, Overlay, Spec
from tests.support.comparisons import CPU
from tests.support.modules import context, module


def bright_and_dark(side, count=300):
    """Noise around two brightnesses, the classes; the first three labels are wrong."""
    random = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    noise = torch.randint(0, 60, (count, 3, side, side), generator=random)
    raw = (noise + 150 * y[:, None, None, None]).to(torch.uint8)
    y[:3] = 1 - y[:3]
    return Data(raw, y, torch.arange(count), Spec("classification", 2, (3, side, side)), CPU)


def keep(data, folder):
    defense = module("defense", "knn-sanitizer")
    return defense.sanitize(None, None, data, context(folder, data.spec)).mask


@pytest.mark.parametrize("side", [8, 32, 72])
def test_wrong_labels_of_pictures_of_any_size_are_outvoted(side, tmp_path):
    assert (~keep(bright_and_dark(side), tmp_path)).nonzero().flatten().tolist() == [0, 1, 2]


def test_large_pictures_are_never_in_memory_at_once(tmp_path, monkeypatch):
    def refuse(data):
        raise AssertionError("all pictures at once")

    monkeypatch.setattr(Data, "x", property(refuse))
    assert int(keep(bright_and_dark(72), tmp_path).sum()) == 297


def test_an_overlay_is_part_of_what_is_compared(tmp_path):
    data = bright_and_dark(8)
    patch = torch.full((3, 8, 8), 0.8)
    place = torch.zeros(1, 2, dtype=torch.int64)
    marked = replace(data, overlay=Overlay(torch.tensor([10]), patch, torch.ones(3, 8, 8), place))
    assert bool(keep(data, tmp_path)[10])
    assert not keep(marked, tmp_path)[10]
