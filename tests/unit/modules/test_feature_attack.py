"""Feature attack: the raised neuron rises, the budget is kept, searches are as described."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.judge.budget import check_perturbation, measure
from harness.runtime.contracts import Budget, NotApplicable, Spec
from harness.runtime.model import LiveModel
from harness.runtime.tasks import loss_for
from tests.support.modules import context, module

SPEC = Spec("classification", 4, (3, 8, 8))
LINF, L2 = {"norm": "linf", "eps": 8 / 255}, {"norm": "l2", "eps": 0.5}
RADII = [0.1 * deviation for deviation in (0.229, 0.224, 0.225)]


def held(channels=3):
    """A network of 12 features as the attack holds it."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(channels, 12, 3, padding=1), nn.Softplus(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    network = nn.Sequential(body, nn.Linear(12, 4))
    victim = SimpleNamespace(head="1", stages=("0",))
    spec = Spec("classification", 4, (channels, 8, 8))
    return LiveModel(network, network, victim, spec, lambda: network, loss_for(spec), ["features"])


def stored(rows=16, channels=3):
    drawn = torch.randint(
        256, (rows, channels, 8, 8), generator=torch.Generator().manual_seed(0)
    ).to(torch.uint8)
    drawn[0], drawn[1] = 0, 255
    return drawn


def perturbed(folder, budget, variant=None, x=None, model=None, **params):
    attack = module("attack", "feature-attack", variant, **params)
    x = stored().float() / 255 if x is None else x
    model = model or held()
    return attack.perturb(model, x, None, None, Budget(**budget), context(folder, SPEC))


@pytest.mark.parametrize("variant", [None, "published"])
def test_the_neuron_rises_at_every_step_on_average(tmp_path, variant):
    model = held()
    means = [
        float(model.features(perturbed(tmp_path, LINF, variant, model=model, steps=n))[:, 0].mean())
        for n in range(1, 12)
    ]
    clean = float(model.features(stored().float() / 255)[:, 0].mean())
    assert means == sorted(means)
    assert means[0] < means[-1]
    assert means[-1] > clean


@pytest.mark.parametrize("budget", [LINF, L2, {"unbounded": True}])
@pytest.mark.parametrize("variant", [None, "published", "averaged"])
def test_every_budget_is_kept(tmp_path, budget, variant):
    found = perturbed(tmp_path, budget, variant, **({"neurons": 4} if variant else {}))
    distances = measure(stored().numpy(), found.numpy())
    assert check_perturbation(distances, budget) is None
    assert float(distances.linf.min()) > 0


def test_the_other_neurons_matter_only_by_their_weight(tmp_path):
    model = held()
    loud, still = (
        model.features(perturbed(tmp_path, LINF, model=model, quiet=quiet, level=0.0))
        for quiet in (0.0, 1e6)
    )
    assert float(still[:, 1:].square().mean()) < float(loud[:, 1:].square().mean())


def test_averaged_raises_several_neurons_at_equal_distances(tmp_path):
    model, wanted = held(), [1, 4, 7, 10]
    attack = module("attack", "feature-attack", "averaged", neuron=1, neurons=4)
    assert attack.raised(12, torch.arange(3)).tolist() == [wanted] * 3
    before = model.features(stored().float() / 255)
    after = model.features(perturbed(tmp_path, LINF, "averaged", model=model, neuron=1, neurons=4))
    others = [k for k in range(12) if k not in wanted]
    assert float((after - before)[:, wanted].mean()) > float((after - before)[:, others].mean())
    assert float((after - before)[:, wanted].mean()) > 0


def test_published_is_a_tenth_of_a_normalised_unit_in_each_channel(tmp_path):
    x = stored().float() / 255
    found = perturbed(tmp_path, {"unbounded": True}, "published")
    low, high = x.flatten(1).min() - 1, torch.tensor([0.9888, 0.9488, 0.9010])
    inside = x <= (high - 0.03).view(3, 1, 1)
    for channel, radius in enumerate(RADII):
        change = (found - x)[:, channel].abs()
        assert float(change[inside[:, channel]].max()) == pytest.approx(radius, abs=1e-6)
        assert float(found[:, channel].max()) <= float(high[channel]) + 1e-4
    assert float(found.min()) >= 0 > float(low)
    assert [round(255 * radius, 1) for radius in RADII] == [5.8, 5.7, 5.7]
    assert float((found - x)[1].abs().max()) == pytest.approx(1 - 0.901, abs=1e-4)  # from white


def test_original_starts_from_grey_and_takes_one_neuron_after_another(tmp_path):
    model = held()
    found = perturbed(tmp_path, {"unbounded": True}, "original", model=model, neuron=2)
    grey = model.features(torch.full((1, 3, 8, 8), 0.5))
    rises = model.features(found) - grey
    for row in range(16):
        assert float(rises[row, (row + 2) % 12]) > 0
    assert torch.equal(found[0], found[12])  # twelve neurons, then the first again
    assert not torch.equal(found[0], found[1])
    other = perturbed(
        tmp_path, {"unbounded": True}, "original", model=model, neuron=2,
        x=torch.rand(16, 3, 8, 8),
    )  # fmt: skip
    assert torch.equal(found, other)  # it does not read the inputs


@pytest.mark.parametrize("params", [{"neuron": 12}, {"neurons": 13}])
def test_a_neuron_that_the_network_lacks_is_refused(tmp_path, params):
    with pytest.raises(NotApplicable, match="the network has 12 features"):
        perturbed(tmp_path, LINF, **params)


def test_published_needs_three_channels(tmp_path):
    x = stored(channels=1).float() / 255
    with pytest.raises(NotApplicable, match="three channels"):
        perturbed(tmp_path, LINF, "published", x=x, model=held(1))
