"""Restarts: they go on where the first search failed, and undo nothing."""

import pytest
import torch

from harness.runtime.contracts import Budget
from tests.support.bent_network import SPEC, bent
from tests.support.modules import context, live, module

SEARCHES = {
    "pgd": {"steps": 3, "rel_stepsize": 0.5},
    "apgd": {"steps": 4},
    "apgd/dlr": {"steps": 4},
    "apgd/dlr-t": {"steps": 2, "targets": 2},
    "fab": {"steps": 1, "targets": 2},
    "square": {"iterations": 8},
}
"""Attack → parameters of a search so short that it fails on some examples."""


@pytest.fixture
def network():
    """Return a network that bends often, so that a search depends on where it starts."""
    return bent()


def left(network, x, y, name, folder, restarts):
    """Which examples stay right."""
    attack = module("attack", *name.split("/"), restarts=restarts, **SEARCHES[name])
    budget = Budget(norm="linf", eps=0.05)
    given = (live(network, SPEC), x.clone(), y, None, budget, context(folder, SPEC))
    return network(attack.perturb(*given)).argmax(1) == y


@pytest.mark.parametrize("name", SEARCHES)
def test_restarts_find_more_and_keep_what_was_found(network, tmp_path, name):
    x = torch.rand(300, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    y = network(x).argmax(1)
    once, often = (left(network, x, y, name, tmp_path, restarts) for restarts in (1, 6))
    assert 0 < int(often.sum()) < int(once.sum())
    assert not (often & ~once).any()
