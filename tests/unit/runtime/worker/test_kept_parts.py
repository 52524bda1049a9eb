"""Parts that are kept of each batch lie in one block, in order."""

import pytest
import torch

from harness.runtime.worker.kept_parts import keep


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_parts_are_copies_in_one_block(dim, dtype):
    whole = torch.arange(2 * 5 * 3).reshape(2, 5, 3).to(dtype).transpose(0, 1 - dim)
    parts: list[torch.Tensor] = []
    for part in torch.split(whole, 2, dim=dim):
        given = part.clone()
        keep(parts, given, whole.shape[dim], dim)
        given.zero_()
    assert torch.equal(torch.cat(parts, dim=dim), whole)
    assert len({one.untyped_storage().data_ptr() for one in parts}) == 1
