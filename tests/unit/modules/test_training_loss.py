"""Attacks on the training loss: as published against plain loops, and the same done right."""

import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.common.keys import ROOT
from harness.judge.budget import check_perturbation, measure
from harness.runtime.contracts import Budget, NotApplicable, Spec
from harness.runtime.model import LiveModel
from tests.support.modules import context, module
from tests.support.workspaces import Checkout, cell, matrix

SPEC = Spec("classification", 4, (3, 8, 8))
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
STD = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)
EPS = 8 / 255
LINF = Budget(norm="linf", eps=EPS)
PUBLISHED = [("fgsm", 1, True), ("iterative", 5, False)]


class Coded(nn.Module):
    """A network for standardised images that draws a code; the nearest of four codewords wins."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.code = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(288, 6)
        ).double()
        self.codewords = 2 * torch.randn(4, 6, dtype=torch.float64)

    def forward(self, x):
        codes = self.code((x.double() - MEAN) / STD)
        return (codes @ self.codewords.T - self.codewords.square().sum(1) / 2).float()


def coded_loss(network, x, y):
    codes = network.code((x.double() - MEAN) / STD)
    return F.smooth_l1_loss(codes, network.codewords[y], reduction="none").mean(1).float()


def held(network=None, loss=coded_loss, spec=SPEC):
    network = network or Coded()
    return LiveModel(network, network, None, spec, lambda: network, loss, ["loss"])


def pictures(rows=12, low=0.0, high=1.0):
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(rows, 3, 8, 8, generator=generator)


def attacked(folder, variant, x, goal=None, budget=LINF, model=None, **params):
    attack = module("attack", "training-loss", variant, **params)
    labels = torch.arange(len(x)) % 4
    return attack.perturb(model or held(), x, labels, goal, budget, context(folder, SPEC))


def published(network, image, label, sign, steps, clips):
    """One standardised image, one step after another; the leaf's gradient is never set to zero."""
    z = ((image - MEAN) / STD).double()[None]
    eps = EPS / STD
    total, at = torch.zeros_like(z), z.clone()
    for _ in range(steps):
        leaf = at.clone().requires_grad_()
        F.smooth_l1_loss(network.code(leaf), network.codewords[label][None]).backward()
        total += leaf.grad
        at = torch.clamp(at + sign * eps / steps * total.sign(), z - eps, z + eps)
    if clips:
        at = at.clamp(float(z.min()), float(z.max()))
    return (at[0] * STD + MEAN).float()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("variant", "steps", "clips"), PUBLISHED)
def test_the_published_attacks_are_their_loops(tmp_path, variant, steps, clips, targeted):
    """Pictures that keep off 0 and 1, where the published iterative attack leaves the box."""
    x, network = pictures(low=0.1, high=0.9), Coded()
    labels = torch.arange(len(x)) % 4
    goal = (labels + 1) % 4 if targeted else None
    found = attacked(tmp_path, variant, x, goal)
    for row, image in enumerate(x):
        wanted = published(
            network, image, int((goal if targeted else labels)[row]), -1 if targeted else 1, steps,
            clips,
        )  # fmt: skip
        assert torch.allclose(found[row], wanted, atol=1e-6)
    change, model = (found - x).abs(), held()
    assert float(change.max()) == pytest.approx(EPS, abs=1e-6)
    aimed = labels if goal is None else goal
    before, after = (model.training_loss(one, aimed) for one in (x, found))
    assert bool(((after < before) == targeted).all())


class Hill(nn.Module):
    """A loss with its top at 0.535, which steps of 0.02 from 0.5 pass."""

    def forward(self, x):
        return x.flatten(1).repeat(1, 4)


def test_gradients_are_summed_or_fresh(tmp_path):
    def top(network, x, y):
        return -(network(x)[:, 0] - 0.535).square()

    model, x = held(Hill(), top), torch.full((2, 1, 1, 1), 0.5)
    places = {
        variant: [
            round(float(attacked(tmp_path, variant, x, None, Budget(norm="linf", eps=0.02 * n),
                                 model, steps=n, step=1 / n)[0]), 4)
            for n in range(1, 7)
        ]
        for variant in ("iterative", "iterative-fresh")
    }  # fmt: skip
    assert places["iterative-fresh"] == [0.52, 0.54, 0.52, 0.54, 0.52, 0.54]
    assert places["iterative"] == [0.52, 0.54, 0.56, 0.58, 0.56, 0.54]


@pytest.mark.parametrize(
    "budget",
    [{"norm": "linf", "eps": 8 / 255}, {"norm": "linf", "eps": 1.0}, {"norm": "l2", "eps": 0.5},
     {"unbounded": True}],
)  # fmt: skip
@pytest.mark.parametrize(
    "variant", [None, "fgsm", "fgsm-box", "iterative", "iterative-fresh", "pgd"]
)
def test_every_budget_is_kept(tmp_path, variant, budget):
    x = (255 * pictures()).round().to(torch.uint8)
    x[0], x[1] = 0, 255
    found = attacked(tmp_path, variant, x.float() / 255, None, Budget(**budget))
    distances = measure(x.numpy(), found.numpy())
    assert check_perturbation(distances, budget) is None
    assert float(distances.linf[2:].min()) > 0


def test_an_image_clips_to_its_own_range_over_all_channels(tmp_path):
    x = pictures(low=0.3, high=0.6)
    found = attacked(tmp_path, "fgsm", x)
    z, z_adv = ((one - MEAN) / STD for one in (x, found))
    low, high = z.flatten(1).amin(1), z.flatten(1).amax(1)
    assert bool((z_adv.flatten(1).amin(1) >= low - 1e-5).all())
    assert bool((z_adv.flatten(1).amax(1) <= high + 1e-5).all())
    free = attacked(tmp_path, "fgsm-box", x)
    assert float((free - found).abs().max()) > 0.5 * EPS  # the clip cuts some values


def test_without_three_channels_the_range_is_that_of_the_pixels(tmp_path):
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2

    def loss(network, x, y):
        return x.flatten(1).square().sum(1)

    found = attacked(tmp_path, "fgsm", x, model=held(nn.Identity(), loss))
    top = x.flatten(1).amax(1).view(-1, 1, 1, 1)
    assert torch.allclose(found, torch.minimum(x + EPS, top))


def as_run(network, x, labels, radius, noise):
    """A library's search for images in [0, 1], given standardised ones (torchattacks 3.2.6)."""
    images = (x - MEAN) / STD
    at = torch.clamp(images + radius * noise, 0, 1)
    for _ in range(4):
        at = at.detach().requires_grad_()
        loss = F.cross_entropy(network(at * STD + MEAN), labels)
        (gradient,) = torch.autograd.grad(loss, at)
        delta = torch.clamp(at + 2 / 255 * gradient.sign() - images, -radius, radius)
        at = torch.clamp(images + delta, 0, 1)
    return at.detach() * STD + MEAN


@pytest.mark.parametrize("radius", [0.05, 0.3])
def test_pgd_as_run_is_the_library_s_loop_on_standardised_images(tmp_path, radius):
    x, free = pictures(), Budget(unbounded=True)
    noise = torch.rand(x.shape, generator=context(tmp_path, SPEC).generator("start")) * 2 - 1
    found = attacked(tmp_path, "pgd-as-run", x, budget=free, radius=radius)
    wanted = as_run(Coded(), x, torch.arange(len(x)) % 4, radius, noise)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert bool(((found >= MEAN - 1e-6) & (found <= MEAN + STD + 1e-6)).all())
    assert float((found - x).abs().max()) > 0.2  # whatever the radius is, the image is overwritten


def test_pgd_as_run_without_a_radius_is_the_cut_alone(tmp_path):
    x = pictures()
    found = attacked(tmp_path, "pgd-as-run", x, budget=Budget(unbounded=True), radius=0)
    assert torch.equal(found, torch.minimum(torch.maximum(x, MEAN), MEAN + STD))


def test_pgd_as_run_needs_three_channels(tmp_path):
    x = torch.rand(2, 1, 8, 8)
    with pytest.raises(NotApplicable, match="three channels"):
        attacked(tmp_path, "pgd-as-run", x, budget=Budget(unbounded=True))


def test_pgd_as_run_is_planned_without_a_limit_alone(tmp_path):
    own = Checkout(tmp_path)
    shutil.copytree(ROOT / "attacks" / "training-loss", tmp_path / "attacks" / "training-loss")
    entry = {"attacks": ["training-loss/pgd-as-run"]}
    wanted = "the budget has norm: linf, and attack training-loss/pgd-as-run keeps only unbounded"
    assert cell(own.plan(matrix(**entry))).reason == wanted
    assert cell(own.plan(matrix(**entry, budgets=[{"unbounded": True}]))).reason is None


def test_a_broken_gradient_spoils_one_step_of_a_sum(tmp_path):
    calls = SimpleNamespace(count=0)

    def loss(network, x, y):
        calls.count += 1
        return x.flatten(1).sum(1) * (float("nan") if calls.count == 2 else 1.0)

    x = pictures(4, 0.2, 0.8)
    found = attacked(tmp_path, "iterative", x, model=held(nn.Identity(), loss))
    assert calls.count == 5
    assert torch.allclose(found, x + EPS, atol=1e-6)


def test_a_step_is_one_pass_of_the_whole_batch(tmp_path):
    batches = []

    def loss(network, x, y):
        batches.append(len(x))
        return coded_loss(network, x, y)

    attacked(tmp_path, "iterative", pictures(12), model=held(loss=loss))
    assert batches == [12] * 5
