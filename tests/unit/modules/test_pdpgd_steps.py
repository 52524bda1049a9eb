"""PDPGD's proximal operators, and its step in Adam's metric, against their objectives."""

import pytest
import torch

from tests.support.modules import part
from tests.support.nearest_inputs import lengths

proximal, primal = part("attack", "pdpgd", "proximal"), part("attack", "pdpgd", "primal")


def rows(count=60, size=9):
    """Changes of different lengths, some with zeros or equal values, and weights of the norm."""
    random = torch.Generator().manual_seed(0)
    change = torch.randn(count, size, generator=random)
    change[torch.rand(count, size, generator=random) < 0.2] = 0
    change[:5, :4] = change[:5, :1]
    return change, 3 * torch.rand(count, generator=random)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_proximal_operator_is_the_minimum_of_its_objective(norm):
    change, reach = (one.double() for one in rows())
    found = proximal.PROXIMAL[norm](change, reach)

    def objective(z):
        return reach * lengths(z, norm) + 0.5 * (z - change).square().sum(1)

    random = torch.Generator().manual_seed(1)
    for scale in (1e-3, 0.03, 1):
        for _ in range(200):
            other = found + scale * torch.randn(found.shape, generator=random)
            assert (objective(found) <= objective(other) + 1e-12).all()
    assert (objective(found) <= objective(change * 0) + 1e-12).all()
    assert 0 < (found == 0).all(1).sum() < len(found)


def test_a_projection_onto_the_l1_ball_ends_on_its_surface_or_stays():
    change, radius = rows()
    found = proximal.project_l1(change, radius)
    inside = change.abs().sum(1) <= radius
    assert torch.equal(found[inside], change[inside])
    assert torch.allclose(found.abs().sum(1)[~inside], radius[~inside], atol=1e-5)


@pytest.mark.parametrize("radius", [0.0, 1e-30, 1e-9, 1e9])
def test_a_projection_is_right_at_radii_that_rounding_swallows(radius):
    change = torch.cat([rows()[0], torch.full((1, 9), 0.1)])
    found = proximal.project_l1(change, torch.full((61,), radius))
    wanted = change if radius > 1 else torch.zeros_like(change)
    assert torch.allclose(found, wanted, atol=1e-7)


def test_a_proximal_step_in_a_metric_is_the_minimum_of_its_objective():
    """Found by many iterations, and nearly so by five."""
    random = torch.Generator().manual_seed(2)
    x = 0.4 + 0.2 * torch.rand(30, 6, generator=random)
    start = x + 0.1 * torch.randn(30, 6, generator=random)
    curvature = 0.2 + torch.rand(30, 6, generator=random)
    weight = 0.05 * torch.rand(30, generator=random)

    def objective(z, norm):
        return weight * lengths(z - x, norm) + 0.5 * (curvature * (z - start) ** 2).sum(1)

    for norm in ("l2", "linf"):
        best = torch.full((30,), torch.inf)
        z = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.01)
        for step in range(500):
            optimizer.param_groups[0]["lr"] = 0.01 * 0.985**step
            optimizer.zero_grad()
            value = objective(z, norm)
            best = torch.minimum(best, value.detach())
            value.sum().backward()
            optimizer.step()
        found = objective(primal.shorten(start, x, curvature, weight, norm, 5), norm)
        assert (found <= best * 1.02 + 1e-5).all()
        assert (objective(start, norm) > best * 1.05).float().mean() > 0.5


@pytest.mark.parametrize("gradient", [0.0, torch.nan, torch.inf, 1e30])
def test_adam_stays_finite(gradient):
    x = torch.rand(2, 4)
    step, curvature = primal.Adam(x).direction(torch.full_like(x, gradient))
    for norm in ("l2", "linf"):
        found = primal.shorten(x - 0.1 * step, x, curvature, torch.ones(2), norm, 5)
        assert found.isfinite().all()
