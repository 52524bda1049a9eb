"""Straight-through estimates of functions that use their input as they please."""

import pytest
import torch

from harness.runtime.gradients import straight_through

X = torch.linspace(0.1, 0.9, 6).reshape(2, 3)


@pytest.mark.parametrize("f", [torch.Tensor.round_, torch.round, lambda x: x, lambda x: x.flip(1)])
def test_f_may_work_in_place_and_return_what_it_got(f):
    x = X.clone().requires_grad_()
    found = straight_through(f, x)
    assert torch.equal(found, f(X.clone()))
    found.sum().backward()
    assert torch.equal(x.grad, torch.ones(2, 3))
    assert torch.equal(x, X)
    assert found.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_f_must_keep_the_shape():
    with pytest.raises(ValueError, match="keep the shape"):
        straight_through(lambda x: x[:1], X)
