"""AutoAttack as an order of modules, against the authors' code as it is packaged."""

import pytest
from pyautoattack import AutoAttack

from harness.runtime.contracts import Spec
from tests.support.nearest_references import digits
from tests.support.relu_nets import AUTOATTACK, handed_over, right

SPEC = Spec("classification", 10, (1, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("eps", [0.05, 0.1])
def test_the_order_leaves_what_autoattack_leaves(eps, tmp_path):
    network, x, y = digits()
    reference = AutoAttack(network, norm="Linf", eps=eps, version="standard", device="cpu")
    found, _ = reference.run_standard_evaluation(x, y)
    theirs = int(right(network, found, y).sum())
    assert 20 < theirs < 180
    assert handed_over(network, SPEC, AUTOATTACK, x, y, eps, tmp_path) == pytest.approx(
        theirs, abs=2
    )
