"""Pooling that remembers places, and its way back, beside torch's own."""

import pytest
import torch
import torch.nn.functional as F

from harness.runtime.unpooling import pool, unpool


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_unpooling_is_torch_s_on_one_core(side, layout):
    """Ties, too: the values are few, so that windows share their maxima."""
    torch.manual_seed(0)
    x = torch.randint(0, 4, (2, 3, 16, 24)).float().contiguous(memory_format=layout)
    values, places = pool(x, side)
    expected, index = F.max_pool2d(x, side, 2, side - 2, return_indices=True)
    assert torch.equal(values, expected)
    y = torch.randn_like(values)
    assert torch.equal(unpool(y, places), F.max_unpool2d(y, index, 2, 2, output_size=(16, 24)))
    flat = places.index.flatten(2)
    assert all(len(set(row.tolist())) == flat.shape[2] for image in flat for row in image)


def test_the_gradient_of_unpooling_is_that_of_what_it_does():
    """Torch's own counts a cell whose place another one took."""
    torch.manual_seed(0)
    _, places = pool(torch.randn(1, 2, 8, 8, dtype=torch.float64), 3)
    assert places.lost.any()
    y = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: unpool(y, places), y)


def test_pooling_refuses_what_would_write_twice():
    with pytest.raises(ValueError, match="windows of 3x3 on 7x8: 2, or 3 on even sides"):
        pool(torch.zeros(1, 1, 7, 8), 3)
    with pytest.raises(ValueError, match="windows of 4x4"):
        pool(torch.zeros(1, 1, 8, 8), 4)
