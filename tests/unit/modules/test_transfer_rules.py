"""Transfer attacks keep the rules: budgets, rows that stand alone, goals, no early stop."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.transfer_attack import perturbed, smooth_network

VARIANTS = ("mi-fgsm", "ni-fgsm", "vmi-fgsm", "vni-fgsm", "di-fgsm", "ti-fgsm", "ti-mi-fgsm",
            "si-ni-fgsm", "admix", "mi-di-ti")  # fmt: skip


@pytest.fixture
def given():
    return smooth_network()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_rules_are_kept_and_a_row_does_not_depend_on_others(given, tmp_path, variant, norm):
    network, x, y = given
    x = (x * 4 - 1.5).clamp(0, 1)  # a third of the numbers at either end
    given, eps = (network, x, y), {"linf": 0.1, "l2": 1.0}[norm]
    budget = {"norm": norm, "eps": eps, "samples": 2 if variant.startswith("v") else 0}
    found = perturbed(given, tmp_path, variant, **budget)
    assert found.dtype == torch.float32
    assert found.shape == x.shape
    assert found.min() >= 0
    assert found.max() <= 1
    change = (found.double() - x).flatten(1)
    reach = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
    assert reach.max() <= eps * (1 + 1e-6)
    assert reach.min() >= 0.7 * eps
    for rows in (torch.arange(5), torch.tensor([7, 3, 19])):
        alone = perturbed(given, tmp_path, variant, rows=rows, **budget)
        # sums of batches of other sizes are rounded differently
        assert ((alone - found[rows]).abs() > 1e-5).float().mean() <= 0.005


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_goal_is_approached(given, tmp_path, variant):
    network, x, y = given
    goal = (y + 2) % 5
    less = {"samples": 3} if variant.startswith("v") else {}
    less |= {"kernel_size": 3} if "ti" in variant else {}  # 15 is more than the picture
    found = perturbed(given, tmp_path, variant, eps=0.2, goal=goal, **less)
    before, after, away = (
        F.cross_entropy(network(one), goal)
        for one in (x, found, perturbed(given, tmp_path, variant, eps=0.2, **less))
    )
    assert after < min(before, away) - 0.25


def test_rows_beyond_the_boundary_of_the_surrogate_go_on(given, tmp_path):
    network, _, y = given
    losses = [
        F.cross_entropy(network(perturbed(given, tmp_path, steps=steps, eps=0.2)), y).item()
        for steps in (2, 5, 10)
    ]
    assert (network(perturbed(given, tmp_path, steps=5, eps=0.2)).argmax(1) != y).all()
    assert losses[0] + 0.1 < losses[1] < losses[2] - 0.1


def test_a_network_without_a_gradient_leaves_all_as_it_is(given, tmp_path):
    network, x, y = given
    nn.init.zeros_(network[3].weight)
    for variant in ("vni-fgsm", "mi-di-ti"):
        assert torch.equal(perturbed((network, x, y), tmp_path, variant), x)


@pytest.mark.parametrize(("norm", "eps", "radius"), [("linf", 0.1, 0.1), ("l2", 3**0.5, 0.1)])
def test_neighbours_and_look_ahead_are_as_far_as_the_radius_of_a_number(
    given, tmp_path, norm, eps, radius
):
    """In L2 the radius over the root of the 300 numbers of a row."""
    network, x, _ = given
    seen = []
    network.register_forward_hook(lambda network, inputs, _: seen.append(inputs[0].detach()))
    perturbed(given, tmp_path, norm=norm, eps=eps, steps=2, samples=4, beta=1.5)
    reach = torch.stack([one - x for one in seen[1:5]]).abs()
    assert reach.max().item() == pytest.approx(1.5 * radius, rel=0.01)
    assert reach.mean().item() == pytest.approx(0.75 * radius, rel=0.02)
    seen.clear()
    first = perturbed(given, tmp_path, norm=norm, eps=eps, steps=1)
    perturbed(given, tmp_path, norm=norm, eps=eps, steps=2, mu=0.5, nesterov=True)
    ahead = (seen[2] - first).abs().flatten(1).mean(1)
    assert torch.allclose(ahead, torch.full((20,), 0.1 * 0.5 * radius), rtol=1e-3)
