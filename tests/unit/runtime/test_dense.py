"""Losses per pixel and logits, against formulas written otherwise."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime import dense
from tests.support.small_segmenter import right


@pytest.fixture
def pixels():
    """Logits of five classes (the last is void's) and labels of four, a tenth of them void."""
    random = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 5, 10, 14, generator=random, dtype=torch.float64)
    y = torch.randint(0, 4, (2, 10, 14), generator=random)
    y[torch.rand(y.shape, generator=random) < 0.1] = 255
    return logits, y.to(torch.uint8)


def test_jensen_shannon_is_that_of_the_whole_distributions(pixels):
    logits, y = pixels
    p = logits.softmax(1).movedim(1, -1)
    q = F.one_hot(y.long().clamp_max(4), 5).double()
    middle = (p + q) / 2
    wanted = 0.5 * (torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)).sum(-1)
    found = dense.values(dense.LOSSES["js"], logits, y, 255)
    assert torch.allclose(found[y != 255], wanted[y != 255])
    assert found.max() < math.log(2)


@pytest.mark.parametrize("name", dense.LOSSES)
def test_void_has_no_loss_and_gradients_are_finite(pixels, name):
    logits, y = pixels
    logits = (100 * logits.float()).requires_grad_()  # p is 0 or 1 in float32
    found = dense.values(dense.LOSSES[name], logits, y, 255)
    assert found.shape == y.shape
    assert not found[y == 255].any()
    dense.mean(found, y, void=255).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert not logits.grad.movedim(1, -1)[y == 255].any()


@pytest.mark.parametrize("name", dense.LOSSES)
def test_raising_a_loss_makes_pixels_wrong(pixels, name):
    logits, y = pixels
    logits = logits.clone().requires_grad_()
    before = right(nn.Identity(), logits, y).sum()
    for _ in range(50):
        found = dense.values(dense.LOSSES[name], logits, y, 255)
        value = dense.mean(found, y, void=255).sum()
        (gradient,) = torch.autograd.grad(value, logits)
        logits = (logits + gradient.sign()).detach().requires_grad_()
    assert right(nn.Identity(), logits, y).sum() < before / 4


def test_a_weighted_mean_is_torchs(pixels):
    logits, y = pixels
    weights = torch.tensor([1.0, 5.0, 0.5, 2.0], dtype=torch.float64)
    found = dense.values(dense.cross_entropy, logits, y, 255)
    rows = dense.mean(found, y, weights, 255)
    void = weights.new_zeros(1)
    wanted = F.cross_entropy(logits, y.long(), torch.cat([weights, void]), ignore_index=255)
    assert rows.shape == (2,)
    assert torch.allclose(rows.mean(), wanted)


def spread_by_hand(z, *places):
    """The largest logit minus the mean of those at some places of the order, place by place."""
    rows = []
    for row in z.tolist():
        row.sort(reverse=True)
        rows.append(row[0] - sum(row[place] for place in places) / len(places))
    return torch.tensor(rows, dtype=z.dtype)


def test_dlr_is_the_papers_ratio():
    random = torch.Generator().manual_seed(5)
    z = torch.randn(40, 6, generator=random, dtype=torch.float64)
    y, target = torch.randint(0, 6, (2, 40), generator=random)
    other = torch.stack(
        [torch.cat([row[:k], row[k + 1 :]]).max() for row, k in zip(z, y, strict=True)]
    )
    own, wanted = z[range(40), y], z[range(40), target]
    assert torch.allclose(dense.dlr(z, y), (other - own) / spread_by_hand(z, 2))
    found = dense.targeted_dlr(z, y, target)
    assert torch.allclose(found, (wanted - own) / spread_by_hand(z, 2, 3))


def test_dlr_of_few_classes_is_the_margin():
    two, y = torch.tensor([[3.0, 1.0], [3.0, 1.0]]), torch.tensor([0, 1])
    assert dense.dlr(two, y).tolist() == [-2, 2]
    three = torch.tensor([[3.0, 1.0, -4.0]] * 2)
    assert dense.targeted_dlr(three, y, torch.tensor([2, 0])).tolist() == [-7, 2]
    assert dense.dlr(three, y).tolist() == pytest.approx([-2 / 7, 2 / 7])


@pytest.mark.parametrize(
    "logits", [[5.0, 5, 5, 5, -1], [2, 2, 2, 2, 2], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
)
def test_tied_logits_have_a_finite_ratio_and_a_direction(logits):
    """A network that rounds its outputs has rows whose denominator is exactly zero."""
    for loss in (dense.dlr, lambda z, y: dense.targeted_dlr(z, y, y + 1)):
        z = torch.tensor([logits], dtype=torch.float32).requires_grad_()
        value = loss(z, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(value.sum(), z)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
        assert gradient[0, 0] <= 0
        assert gradient.any()


@pytest.mark.parametrize("factor", [300, 1e-8, 1e-36, 1e36, 2.0**-140])
def test_dlr_and_the_direction_of_its_gradient_ignore_the_scale(factor):
    random = torch.Generator().manual_seed(6)
    plain = torch.randn(50, 6, generator=random)
    plain[0, :3] = torch.tensor([9.0, 9.0, 9 - 1e-6])  # its gradient is a million times larger
    y = plain.argmax(1)
    for loss in (dense.dlr, lambda z, y: dense.targeted_dlr(z, y, (y + 1) % 6)):
        found = []
        for z in (plain, plain * factor):
            z = z.clone().requires_grad_()
            value = loss(z, y)
            (gradient,) = torch.autograd.grad(value.sum(), z)
            length = gradient.double().norm(dim=1, keepdim=True)
            assert bool((length > 0).all())
            found.append((value, gradient.double() / length))
        (value, direction), (scaled, same) = found
        # 2**-140 leaves a float32 nine bits
        assert torch.allclose(value[1:], scaled[1:], atol=0.05 if factor < 1e-40 else 1e-5)
        assert torch.allclose(direction[1:], same[1:], atol=0.05 if factor < 1e-40 else 1e-5)
        assert bool(same.isfinite().all())
