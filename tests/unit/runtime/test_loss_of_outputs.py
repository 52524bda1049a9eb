"""Training losses of given outputs: what reads a layer is declined, what does without goes on."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.runtime.contracts import NotApplicable, Spec
from harness.runtime.model import LiveModel, capture

SPEC = Spec("classification", 3, (1, 2, 2))
OUTPUTS, Y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 3


def captured(network, x):
    with capture(network, ("decode",), inputs=True) as seen:
        network(x)
    return seen[0]


READS = {
    "'decode'": captured,
    "'head'": lambda network, x: network.head(x),
    "'0'": lambda network, x: network.get_submodule("0")(x),
    "1": lambda network, x: network[1](x),
}
GOES_ON = {
    "outputs": lambda network, x: network(x),
    "wrapped": lambda network, x: getattr(network, "module", network)(x),
    "parameters": lambda network, x: network(x) + sum(p.sum() for p in network.parameters()),
    "itself": lambda network, x: network.get_submodule("")(x),
}


def live(read):
    def loss(network, x, y):
        return F.cross_entropy(read(network, x), y, reduction="none")

    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return LiveModel(network, network, None, SPEC, lambda: network, loss, ["loss"])


@pytest.mark.parametrize("layer", READS)
def test_a_layer_that_is_read_is_named(layer):
    with pytest.raises(NotApplicable, match=r"needs model\.training_loss\(x, y\)") as caught:
        live(READS[layer]).training_loss_of(OUTPUTS, Y)
    assert str(caught.value).startswith(f"the training loss reads {layer} of its network")


@pytest.mark.parametrize("name", GOES_ON)
def test_a_loss_that_does_without_goes_on(name):
    outputs = OUTPUTS.clone().requires_grad_()
    found = live(GOES_ON[name]).training_loss_of(outputs, Y)
    assert torch.equal(found, F.cross_entropy(OUTPUTS, Y, reduction="none"))
    found.sum().backward()
    assert outputs.grad.abs().max() > 0
