"""The random control keeps every budget, and fills it."""

import pytest
import torch

from harness.judge.budget import check_perturbation, measure
from harness.runtime.contracts import Budget, Spec
from tests.support.modules import context, module

SPEC = Spec("classification", 4, (3, 8, 8))
LINF, L2, PATCH = {"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 0.5}, {"patch": 3}
PIXELS = {"pixels": 5}
HOOKS = {
    "perturb": lambda noise, x, budget, ctx: noise.perturb(None, x, None, None, budget, ctx),
    "trigger": lambda noise, x, budget, ctx: noise.trigger(x, budget, ctx),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    "fields",
    [LINF, L2, PATCH, PIXELS, LINF | PATCH, L2 | PATCH, LINF | PIXELS, PATCH | PIXELS],
)
def test_random_noise_keeps_every_limit_of_a_budget_at_once(hook, fields, tmp_path):
    x = torch.randint(256, (16, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    x = x.to(torch.uint8)
    found = HOOKS[hook](
        module("attack", "random_noise"), x.float() / 255, Budget(**fields), context(tmp_path, SPEC)
    )
    distances = measure(x.numpy(), found.numpy())
    assert check_perturbation(distances, fields) is None
    assert bool((distances.l2 > 0.05).all())
    if "pixels" in fields:
        assert distances.changed.max() == 5
    elif "patch" in fields:
        assert (distances.box_height.max(), distances.box_width.max()) == (3, 3)
        assert check_perturbation(distances, {"patch": 2}) is not None


def test_random_noise_without_a_limit_leaves_the_ball_of_any_radius(tmp_path):
    x = torch.zeros(4, 3, 8, 8)
    budget = Budget(unbounded=True)
    found = HOOKS["perturb"](module("attack", "random_noise"), x, budget, context(tmp_path, SPEC))
    assert float(found.max()) > 0.9
    assert (float(found.min()), bool((found <= 1).all())) == (0, True)
