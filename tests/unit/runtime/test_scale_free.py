"""The scale of a network's logits, and so of its gradients, decides nothing in an attack."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.common.keys import ROOT
from harness.config.catalog import Catalog
from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.gradients import Ball, project, random_start, steepest
from harness.runtime.model import LiveModel
from harness.runtime.problem import Problem
from tests.support.modules import context, live, module, part

SPEC = Spec("classification", 4, (1, 8, 8))
POWERS = (-100, -27, 0, 27, 100)
"""Exponents of factors by which float32 multiplies without rounding, from 1e-30 to 1e30."""
FACTORS = [10.0**k for k in (-44, -42, -38, -36, -20, -8, 0, 8, 20, 36)]
RADIUS = {"linf": 0.1, "l2": 0.5}


class Scaled(nn.Module):
    """A fixed random classifier with all of its logits multiplied."""

    def __init__(self, factor):
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 4))
        self.factor = factor

    def forward(self, x):
        return self.inner(x) * self.factor


def own_logit(logits, labels):
    """A loss that is linear in the logits, so that its gradient has their scale."""
    return -logits.gather(1, labels[:, None]).squeeze(1)


def problem_of(power):
    """The problem of a batch that the network classifies correctly, its inputs, its model."""
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model = live(Scaled(2.0**power), SPEC)
    return Problem(model, model.predict(x).argmax(1), loss_fn=own_logit), x, model


def fgsm(power, norm, folder):
    problem, x, _ = problem_of(power)
    step = RADIUS[norm] * steepest(problem.gradient(x), norm)
    return project(x + step, x, norm, RADIUS[norm])


def pgd(power, norm, folder):
    problem, x, _ = problem_of(power)
    attack = module("attack", "pgd", steps=10, restarts=2)
    return attack.search(problem, x, x, Ball(norm, RADIUS[norm])).x_adv


def apgd(power, norm, folder):
    problem, x, _ = problem_of(power)
    return part("attack", "apgd", "ascent").ascend(problem, x, x, Ball(norm, RADIUS[norm]), 10)[0]


def train_set():
    """Random pictures with the classes that the unscaled network gives them."""
    raw = torch.randint(256, (60, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    y = Scaled(1.0)(raw / 255).argmax(1)
    return Data(raw.to(torch.uint8), y, torch.arange(60), SPEC, torch.device("cpu"))


def hook(name, variant=None, *, learns=False, minimal=False, **params):
    """An attack of the checkout, called as a stage calls it; perhaps with no radius."""

    def attack(power, norm, folder):
        problem, x, _ = problem_of(power)
        network = Scaled(2.0**power)
        needs, victim = ["gradients", "features"], SimpleNamespace(head="inner.3")
        model = LiveModel(network, network, victim, SPEC, lambda: network, None, needs)
        limit = {"minimal": True} if minimal else {"eps": RADIUS[norm]}
        budget, ctx = Budget(norm=norm, **limit), context(folder, SPEC)
        own = module("attack", name, variant, **params)
        if learns:
            own.learn(model, train_set(), train_set(), budget, ctx)
        return own.perturb(model, x, problem.y, None, budget, ctx)

    return attack


dlr, targeted_dlr = hook("apgd", "dlr", steps=10), hook("apgd", "dlr-t", steps=10)
square = hook("square", iterations=30)
RAYS = hook("rays", minimal=True, max_queries=100)
CLAIMS = {
    "apgd": dlr,
    "square": square,
    "fab": hook("fab", steps=8),
    "fmn": hook("fmn", steps=8),
    "feature-attack": hook("feature-attack", steps=5),
    "linear-probe": hook("linear-probe", learns=True, steps=5),
    "deepfool": hook("deepfool", steps=8),
    "hopskipjump": hook("hopskipjump", minimal=True, iterations=2),
    "noop": hook("noop"),
    "random_noise": hook("random_noise"),
    "rays": lambda power, norm, folder: RAYS(power, "linf", folder),
}
"""Attacks whose manifests say that they ignore the scale."""


ATTACKS = [(fgsm, "linf"), (fgsm, "l2"), (pgd, "linf"), (pgd, "l2"), (apgd, "linf"),
           (apgd, "l2"), (dlr, "linf"), (dlr, "l2"), (targeted_dlr, "linf"), (targeted_dlr, "l2"),
           (square, "linf"), (square, "l2")]  # fmt: skip


@pytest.mark.parametrize(("attack", "norm"), ATTACKS)
def test_an_attack_finds_the_same_whatever_the_logits_are_multiplied_by(attack, norm, tmp_path):
    found = {power: attack(power, norm, tmp_path) for power in POWERS}
    problem, x, model = problem_of(0)
    fooled = model.predict(found[0]).argmax(1) != problem.y
    assert int(fooled.sum()) >= 2
    assert float((found[0] - x).abs().max()) > RADIUS[norm] / 10
    for power in POWERS:
        assert torch.equal(found[power], found[0]), power


def test_manifests_claim_what_is_tried_here():
    manifests = [m.manifest for m in Catalog.load(ROOT).modules.values()]
    claims = {m.name for m in manifests if m.scale_invariant_when is not None}
    assert claims == set(CLAIMS)


@pytest.mark.parametrize("norm", RADIUS)
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_true(name, norm, tmp_path):
    wanted = CLAIMS[name](0, norm, tmp_path)
    for power in POWERS:
        assert torch.equal(CLAIMS[name](power, norm, tmp_path), wanted), power


@pytest.mark.parametrize("factor", FACTORS)
def test_a_direction_has_length_1_at_every_scale_of_float32(factor):
    random = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    gradient = random * factor
    wanted = gradient.double() / gradient.double().flatten(1).norm(dim=1)[:, None, None, None]
    found = steepest(gradient, "l2")
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), wanted, atol=1e-6)
    assert found.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0] * 8)
    assert torch.equal(steepest(gradient, "linf"), gradient.sign())


def test_rows_of_different_scales_stand_beside_each_other():
    smallest, largest = 2.0**-149, float(torch.finfo(torch.float32).max)
    rows = torch.tensor(
        [[3, 4, 0], [3e-40, 4e-40, 0], [smallest, 0, 0], [largest, -largest, 0], [0, 0, 0]]
    )
    half = math.sqrt(0.5)
    wanted = torch.tensor([[0.6, 0.8, 0], [0.6, 0.8, 0], [1, 0, 0], [half, -half, 0], [0, 0, 0]])
    assert torch.allclose(steepest(rows, "l2"), wanted, atol=1e-5)


def test_infinite_entries_are_the_direction_and_nan_is_none():
    rows = torch.tensor([[math.inf, 1, 0], [-math.inf, math.inf, 5], [math.nan, 3, 4],
                         [math.nan, math.nan, math.nan]])  # fmt: skip
    half = math.sqrt(0.5)
    wanted = torch.tensor([[1.0, 0, 0], [-half, half, 0], [0, 0.6, 0.8], [0, 0, 0]])
    assert torch.allclose(steepest(rows, "l2"), wanted)
    assert steepest(rows, "linf").tolist() == [[1, 1, 0], [-1, 1, 1], [0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("factor", FACTORS[3:])
def test_a_row_is_done_at_the_same_share_of_its_logits(factor):
    logits = torch.tensor([[0.0, 1e-6, -3], [0, 1e-3, -3], [0, 1, -3], [1e-3, 0, -3]]) * factor
    problem = Problem(SimpleNamespace(spec=SPEC), torch.zeros(4, dtype=torch.int64))
    assert problem.done(logits).tolist() == [False, True, True, False]


def test_logits_that_are_not_finite_end_no_search():
    logits = torch.tensor([[0.0, math.nan, 1], [0, math.inf, 1], [math.nan] * 3, [0, 0, 0]])
    problem = Problem(SimpleNamespace(spec=SPEC), torch.zeros(4, dtype=torch.int64))
    assert problem.done(logits).tolist() == [False] * 4


@pytest.mark.parametrize("eps", [1e-38, 1e-30, 1e-12, 0.25])
def test_a_projection_keeps_short_steps_and_shortens_long_ones_to_the_radius(eps):
    x = torch.zeros(2, 4)
    step = torch.tensor([[0.6, 0.8, 0, 0], [0.06, 0.08, 0, 0]]) * 4 * eps
    lengths = project(step, x, "l2", eps).double().norm(dim=1)
    assert lengths.tolist() == pytest.approx([eps, 0.4 * eps], rel=1e-5)
    assert float(lengths.max()) <= eps
    drawn = random_start(x, "l2", eps, torch.Generator().manual_seed(0)).double().norm(dim=1)
    assert 0 < float(drawn.max()) <= eps


def test_pgd_and_apgd_stay_finite_where_every_gradient_is_nan(tmp_path):
    _, x, _ = problem_of(0)
    model = live(NanGradient(), SPEC)
    y = torch.zeros(len(x), dtype=torch.int64)
    for name in ("fgsm", "pgd", "apgd"):
        attack = module("attack", name)
        found = attack.perturb(model, x, y, None, Budget(norm="linf", eps=0.1),
                               context(tmp_path, SPEC))  # fmt: skip
        assert bool(found.isfinite().all()), name


class NanGradient(nn.Module):
    """Finite logits with NaN gradients: the root of 0 times 0."""

    def forward(self, x):
        return (x.flatten(1)[:, :4] * 0).sqrt() + 1
