"""Figures that the broker takes from an attack's own backward passes."""

import pytest
import torch
from torch import nn

from harness.runtime.contracts import Spec
from harness.runtime.worker import health_names as names
from harness.runtime.worker.access import Access
from harness.runtime.worker.network_process import ASKS
from tests.support.network_service import live_of, served

SPEC = Spec("classification", 3, (1, 4, 4))


class Net(nn.Module):
    def __init__(self, sign=1.0):
        super().__init__()
        self.weights = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
        self.sign = sign

    def forward(self, x):
        x = x.detach() + self.sign * (x - x.detach())
        return x.flatten(1) @ self.weights.T


def attack(network, loss, steps=(1,), rows=20, batches=1):
    """Figures after an attack of so many backward passes in each batch."""
    x = torch.rand(rows, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    access = Access(asks=set(ASKS), examples=rows * batches, batch=rows)
    with served(live_of(network, SPEC), access) as service:
        for batch in range(batches):
            service.model.begin(torch.arange(rows * batch, rows * (batch + 1)))
            for step in steps:
                at = x[:: max(step, 1)].clone().requires_grad_()
                torch.autograd.grad(loss(service.model.module(at)).sum(), at)
            service.model.show(x)
        passes = dict(service.broker.passes)
    return service.broker.health.figures(), passes


def margin(out):
    return out[:, 0] - out[:, 1]


def test_an_honest_network_foretells_its_outputs():
    found, passes = attack(Net(), margin, batches=2)
    assert found.keys() == set(names.ATTACK)
    assert found[names.ATTACK_AGREEMENT] == pytest.approx(1, abs=1e-3)
    assert found[names.ATTACK_GAIN] > 1.5
    zero = (names.ATTACK_ZERO_START, names.ATTACK_ZERO_END, names.SATURATED)
    assert [found[name] for name in zero] == [0, 0, 0]
    assert passes == {"forward": 40, "backward": 40}  # what is tried is none of the attack's


def test_a_gradient_of_the_wrong_sign():
    found, _ = attack(Net(sign=-1), margin)
    assert found[names.ATTACK_AGREEMENT] == pytest.approx(-1, abs=1e-3)
    assert found[names.ATTACK_GAIN] < -1.5


class Bowl(Net):
    """A network whose loss rises along every direction, and whose gradient says nothing of it."""

    def forward(self, x):
        centre = torch.full_like(x, 0.5)
        out = (x.detach() - centre).square().flatten(1) @ torch.ones(16, 3)
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
        return out * torch.tensor([1.0, 0, 0]) + ((x - x.detach()) * noise).flatten(1).sum(
            1, keepdim=True
        ) * torch.tensor([1.0, 0, 0])


def test_a_loss_that_rises_everywhere_agrees_with_no_gradient():
    x = torch.full((24 * 8, 1, 4, 4), 0.5)
    access = Access(asks=set(ASKS), examples=len(x), batch=len(x))
    with served(live_of(Bowl(), SPEC), access) as service:
        service.model.begin(torch.arange(len(x)))
        at = x.clone().requires_grad_()
        torch.autograd.grad(margin(service.model.module(at)).sum(), at)
        service.model.show(x)
    assert abs(service.broker.health.figures()[names.ATTACK_AGREEMENT]) < 0.1


def test_a_saturated_loss_is_told_from_a_lost_gradient():
    def half(out):
        return margin(out) * (torch.arange(len(out)) % 2)

    found, _ = attack(Net(), half)
    assert found[names.SATURATED] == found[names.ATTACK_ZERO_START] == 0.5
    lost, _ = attack(Net(sign=0), margin)
    assert (lost[names.SATURATED], lost[names.ATTACK_ZERO_START]) == (0, 1)
    assert lost[names.ATTACK_AGREEMENT] == lost[names.ATTACK_GAIN] == 0


def test_passes_are_counted_for_each_example_and_the_last_ones_stand_alone():
    found, _ = attack(Net(), margin, steps=(1, 1, 2))
    assert found[names.BACKWARD] == 2.5


def test_an_attack_without_gradients_has_no_figures_but_its_passes():
    found, _ = attack(Net(), margin, steps=())
    assert found == {names.BACKWARD: 0}


def test_one_row_is_enough():
    found, _ = attack(Net(), margin, rows=1)
    assert found[names.ATTACK_AGREEMENT] == pytest.approx(1, abs=1e-3)


def test_the_training_loss_is_tried_with_its_labels():
    with served(live_of(Net(), SPEC), Access(asks=set(ASKS), examples=20, batch=20)) as service:
        service.model.begin(torch.arange(20))
        x = torch.rand(20, 1, 4, 4).requires_grad_()
        torch.autograd.grad(service.model.training_loss(x, torch.arange(20) % 3).sum(), x)
        service.model.show(x.detach())
    assert service.broker.health.figures()[names.ATTACK_AGREEMENT] > 0.9


def test_a_loss_of_outputs_is_no_pass_to_inputs():
    with served(live_of(Net(), SPEC), Access(asks=set(ASKS), examples=20, batch=20)) as service:
        service.model.begin(torch.arange(20))
        out = torch.rand(20, 3).requires_grad_()
        torch.autograd.grad(service.model.training_loss_of(out, torch.arange(20) % 3).sum(), out)
        service.model.show(torch.rand(20, 1, 4, 4))
    assert service.broker.health.figures() == {names.BACKWARD: 0}
