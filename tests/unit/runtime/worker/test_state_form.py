"""The state of a network after a hook: the names, shapes and types of ``build``."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from harness.runtime.contracts import OutputError
from harness.runtime.worker.state_form import StateForm


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def pruned(net):
    prune.l1_unstructured(net[1], "weight", 0.2)
    return net


def swapped(net):
    net[1] = nn.Linear(4, 2)
    return net


HEAD = "repair(): the network's tensors differ from build()'s: "
KINDS = {
    "parallel": (
        nn.DataParallel,
        HEAD + "1.bias is missing, 1.weight is missing, module.1.bias is not among them and 1 more",
    ),
    "tuple": (lambda net: (net, 0.5), "repair() returned tuple, expected nn.Module"),
    "state": (
        lambda net: net.state_dict(),
        "repair() returned OrderedDict, expected nn.Module",
    ),
    "half": (
        lambda net: net.half(),
        HEAD + "1.bias is float16 and not float32, 1.weight is float16 and not float32",
    ),
    "double": (
        lambda net: net.double(),
        HEAD + "1.bias is float64 and not float32, 1.weight is float64 and not float32",
    ),
    "prune": (
        pruned,
        HEAD + "1.weight is missing, 1.weight_mask is not among them, 1.weight_orig is not among "
        "them",
    ),
    "swap": (
        swapped,
        HEAD + "1.bias has shape [2] and not [3], 1.weight has shape [2, 4] and not [3, 4]",
    ),
    "fused": (
        lambda net: nn.Sequential(net, nn.Identity()),
        HEAD + "0.1.bias is not among them, 0.1.weight is not among them, 1.bias is missing and "
        "1 more",
    ),
}
"""F12: what ``repair`` returned, and what is said at once, not one stage later."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_another_form_is_refused_in_one_line(kind):
    change, said = KINDS[kind]
    form = StateForm.of(network())
    with pytest.raises(OutputError) as caught:
        form.check_network(change(network()), "repair")
    assert str(caught.value) == said


def test_a_network_of_the_same_form_is_itself():
    net = network()
    assert StateForm.of(network()).check_network(net, "repair") is net


def test_a_lazy_network_has_its_shapes_after_training():
    def lazy():
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))

    form, net = StateForm.of(lazy()), lazy()
    with pytest.raises(OutputError, match=r"1\.bias has no shape yet"):
        form.check_network(net, "fit")
    net(torch.zeros(1, 4))
    assert form.check_network(net, "fit") is net


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ([1], "import_weights() returned list, expected a dictionary of tensors"),
        ({}, "differ from build()'s: 1.bias is missing, 1.weight is missing"),
        ({"1.bias": 0, "1.weight": torch.zeros(3, 4)}, "differ from build()'s: 1.bias is of type"),
        ({1: torch.zeros(1)} | network().state_dict(), "1 is not among them"),
    ],
)
def test_imported_weights_are_a_dictionary_of_the_network_s_tensors(state, said):
    with pytest.raises(OutputError) as caught:
        StateForm.of(network()).check(state, "import_weights", types=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_imported_weights_may_be_of_another_type():
    state = network().double().state_dict()
    assert (
        StateForm.of(network()).check(state, "import_weights", types=False).keys() == state.keys()
    )


def test_a_state_that_no_file_can_hold_is_refused():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(OutputError, match="_extra_state of the network's state is no tensor"):
        StateForm.of(Extra(1, 1))
