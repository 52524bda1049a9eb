"""What is known of released networks on whole test sets: by proofs, solvers and other code.

Only images that a bound leaves open can be broken, so that only these are attacked: the others are
right whatever is tried.
"""

import numpy as np
import pytest

from harness.judge.attack_flags import another_loss_does_better
from tests.support.relu_nets import AUTOATTACK, MNIST, handed_over, idx_images, left, load, right
from tests.support.sources import shared

SETS = {
    "kw-mnist": ("mnist", 180, "open_kw_mnist"),
    "wk17a": ("mnist", 189, "open_mip_wk17a"),
    "kw-fashion": ("fashion_mnist", 2173, "open_kw_fashion"),
}
"""Weights → images, errors without an attack, list of images that a bound at 0.1 leaves open."""
HARD = {"madry-tiny": "MadryCNN_no_maxpool_tiny", "sdp-mnist-adv": "cnn_a_adv"}
"""Weights → list of 20 images that a solver has broken within 0.3."""

pytestmark = pytest.mark.slow


def listed(name):
    return np.loadtxt(shared("verified") / f"{name}.txt", int)


def open_rows(name):
    """Network, its errors without an attack, and the images that can be broken."""
    folder, errors, rows = SETS[name]
    network, (x, y) = load(name), idx_images(folder)
    found = right(network, x, y)
    assert int((~found).sum()) == errors
    rows = listed(rows)
    assert found[rows].all()
    return network, errors, x[rows], y[rows]


@pytest.mark.parametrize(("name", "wanted", "by"), [("kw-mnist", 404, 5), ("kw-fashion", 3158, 15)])
def test_pgd_makes_as_many_errors_as_other_code(name, wanted, by, tmp_path):
    """Six random starts found 402 to 405, and 3,146 to 3,160."""
    network, errors, x, y = open_rows(name)
    still = left(network, MNIST, ("pgd", "pgd-40"), x, y, 0.1, tmp_path)
    assert errors + int((~still).sum()) == pytest.approx(wanted, abs=by)


@pytest.mark.parametrize(("name", "least", "most"), [("kw-mnist", 422, 582), ("wk17a", 430, 438)])
def test_autoattack_makes_no_more_errors_than_exist(name, least, most, tmp_path):
    """Of WK17a 438 are known to exist, by integer programming; other code finds 434."""
    network, errors, x, y = open_rows(name)
    found = errors + len(y) - handed_over(network, MNIST, AUTOATTACK, x, y, 0.1, tmp_path)
    assert least <= found <= most


@pytest.mark.parametrize("name", HARD)
def test_what_only_a_solver_has_broken_stays_hard(name, tmp_path):
    """Other code finds three and none; over five seeds Square found 1 to 3, and 1 or 2."""
    x, y = (part[listed(f"hard_mnist_{HARD[name]}_unsafe")] for part in idx_images("mnist"))
    network = load(name)
    assert right(network, x, y).all()
    assert 1 <= len(y) - handed_over(network, MNIST, AUTOATTACK, x, y, 0.3, tmp_path) <= 4


def test_the_network_on_which_cross_entropy_misleads(tmp_path):
    """1,147 of 10,000 by other code's PGD of 40 steps, 1,431 by margins; a flag says so."""
    network, (x, y) = load("rsl18a"), idx_images("mnist")
    clean = right(network, x, y)
    assert int((~clean).sum()) == 418

    def still(attack, x, y, **params):
        return left(network, MNIST, attack, x, y, 0.1, tmp_path, **params)

    assert int((~still(("pgd", "pgd-40"), x, y)).sum()) == pytest.approx(1147, abs=15)
    x, y = x[clean], y[clean]
    by_ce = still(("apgd", None), x, y)
    # three targets and 30 steps find three images fewer than nine and 100
    by_margin = still(("apgd", "dlr-t"), x[by_ce], y[by_ce], targets=3, steps=30)
    assert 10_000 - int(by_margin.sum()) >= 1430
    few = x[:2000], y[:2000]
    success = [1 - still(("apgd", v), *few, steps=50).float().mean().item() for v in (None, "dlr")]
    flag = another_loss_does_better(success=success[0], other=success[1], name="apgd/dlr")
    assert flag is not None
    assert flag.name == "another_loss_does_better"
