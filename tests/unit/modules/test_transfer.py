"""Transfer attacks: torchattacks' steps, and all steps by hand on a linear network."""

import pytest
import torch
import torchattacks
from torch import nn

from harness.runtime.model import freeze
from tests.support.modules import part
from tests.support.transfer_attack import EPS, by_torch, perturbed, smooth_network, whole

smoothing = part("attack", "transfer", "smoothing")


@pytest.fixture
def curved():
    """A network on which a wrong rule takes other steps: its gradient turns within the ball."""
    return smooth_network(gain=10)


WIDE = 0.08
REFERENCES = [
    ("MIFGSM", "mi-fgsm", {}, {}),
    ("NIFGSM", "ni-fgsm", {}, {}),
    ("SINIFGSM", "si-ni-fgsm", {}, {"m": 5}),
    ("TIFGSM", "ti-mi-fgsm", {"kernel_size": 7, "sigma": 1 / 3},
     {"len_kernel": 7, "decay": 1.0, "diversity_prob": 0.0}),
    ("VMIFGSM", "vmi-fgsm", {"samples": 3}, {"N": 3, "beta": 1.5}),
    ("VNIFGSM", "vni-fgsm", {"samples": 3}, {"N": 3, "beta": 1.5}),
    ("DIFGSM", "di-fgsm", {"resize_rate": 0.7}, {"resize_rate": 0.7}),
]  # fmt: skip


class Neighbors:
    """In place of ``torch.randn_like``: the numbers that the attack here draws."""

    def __init__(self, folder):
        ctx, batch = whole(folder)
        with ctx.batch(batch):
            self.generator = ctx.generator("neighbours")

    def __call__(self, like):
        self.shape = like.shape
        return self

    def uniform_(self, low, high):
        return low + (high - low) * torch.rand(self.shape, generator=self.generator)


def resized(folder):
    """In place of ``input_diversity``: rows changed one by one, by the numbers drawn here."""
    ctx, batch = whole(folder)
    with ctx.batch(batch):
        generator = ctx.generator("resized")

    def change(x):
        chances = torch.rand((20, 4), generator=generator)
        rows = zip(x, chances, strict=True)
        return torch.stack([by_torch(row, *own.tolist(), 0.5, 0.7) for row, own in rows])

    return change


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize(("name", "variant", "own", "their"), REFERENCES)
def test_each_step_is_that_of_torchattacks(
    curved, tmp_path, monkeypatch, name, variant, own, their, steps
):
    """To 1e-6 on all but one number in 500, whose momentum may be near zero."""
    network, x, y = curved
    reference = getattr(torchattacks, name)(network, eps=WIDE, alpha=WIDE / 8, steps=steps, **their)
    if name == "DIFGSM":
        reference.input_diversity = resized(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "randn_like", Neighbors(tmp_path))
        wanted = reference(x, y)
    found = perturbed(curved, tmp_path, variant, eps=WIDE, steps=steps, rel_stepsize=1 / 8, **own)
    assert ((found - wanted).abs() > 1e-6).float().mean() <= 0.002
    assert (wanted - x).abs().max() == pytest.approx(WIDE * steps / 8, rel=1e-3)


@pytest.fixture
def linear():
    """A linear network of two classes, by whose gradient each row has one best corner."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(300, 2))
    x = 0.4 + 0.2 * torch.rand(6, 3, 10, 10)
    return freeze(network), x, network(x).argmax(1)


def ascent(network, y):
    weight = network[1].weight
    return (weight[1 - y] - weight[y]).view(-1, 3, 10, 10)


@pytest.mark.parametrize("variant", [None, "ni-fgsm", "vni-fgsm", "si-ni-fgsm", "admix"])
def test_on_a_linear_network_it_ends_at_the_best_point_of_the_ball(linear, tmp_path, variant):
    network, x, y = linear
    up = ascent(network, y)
    corner = perturbed(linear, tmp_path, variant)
    assert torch.allclose(corner - x, EPS * up.sign(), atol=1e-6)
    edge = perturbed(linear, tmp_path, variant, norm="l2", eps=0.3)
    wanted = 0.3 * up / up.flatten(1).norm(dim=1)[:, None, None, None]
    assert torch.allclose(edge - x, wanted, atol=1e-5)


def test_smoothed_steps_follow_the_smoothed_gradient(linear, tmp_path):
    network, x, y = linear
    up = smoothing.smooth(ascent(network, y), 15, 3**-0.5)
    found = perturbed(linear, tmp_path, "ti-fgsm") - x
    assert torch.equal(found.sign(), up.sign())
    assert (up.sign() != ascent(network, y).sign()).any()
