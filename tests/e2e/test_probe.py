"""Probes of networks that blind attacks, or cannot be probed at all."""

import pytest

from tests.support.module_sources import guarded
from tests.support.whole_run import find
from tests.support.workspaces import Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

GUARDS = {
    "wrong-sign": "return self.network(2 * x.detach() - x)",
    "scales": "return 3000 * self.network(x)",
    "flat": "return self.network(x).round()",
    "raises": "return self.network(x) if not torch.is_grad_enabled() else 1 / 0",
    "noisy": "return self.network(x + 0.3 * torch.randn_like(x))",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("probe"))
    for name, forward in GUARDS.items():
        drawn = {"random": True} if name == "noisy" else {}
        checkout.module("defense", name, guarded(forward), hooks=["guard"], **drawn)
    checkout.benchmark(matrix(attacks=["noop", "sign"], defenses=["none", *GUARDS]))
    checkout.run()
    return checkout


def health(checkout, defense, attack="sign"):
    record = find(checkout, defense=defense, attack=attack)
    assert record.status == "ok", record.reason
    return record.health


def test_an_honest_network_is_healthy(checkout):
    found = health(checkout, "none")
    assert found["probe_gradient_agreement"] > 0.9
    assert found["unlimited_success"] == 1


def test_a_wrong_sign_shows_without_any_attack_and_in_every_attack(checkout):
    for attack in ("noop", "sign"):
        found = health(checkout, "wrong-sign", attack)
        assert found["probe_gradient_agreement"] < -0.9
        assert found["probe_loss_rose"] == 0
        assert found["unlimited_success"] < 0.5
    assert health(checkout, "wrong-sign")["gradient_agreement"] < -0.9


def test_a_saturated_loss_is_told_from_a_network_without_gradients(checkout):
    scaled, flat = health(checkout, "scales"), health(checkout, "flat")
    assert scaled["saturated_loss"] > 0.5
    assert scaled["probe_start_zero_loss_gradients"] > 0.5
    assert scaled["probe_start_zero_gradients"] == 0
    assert flat["probe_start_zero_gradients"] == flat["start_zero_gradients"] == 1
    assert flat["saturated_loss"] == 0


def test_the_mean_over_draws_is_probed_where_a_network_says_that_it_draws(checkout):
    found = health(checkout, "noisy")
    assert 0 < found["probe_gradient_agreement"] < 0.99
    assert found["unlimited_success"] > 0.9


def test_a_network_that_cannot_be_probed_ends_its_cells(checkout):
    for attack in ("noop", "sign"):
        record = find(checkout, defense="raises", attack=attack)
        assert (record.status, record.by) == ("module_error", "defense")
        assert "in the network: ZeroDivisionError" in record.reason
    assert find(checkout, defense="raises", attack="noop").stage == "probe"
