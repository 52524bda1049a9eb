"""An attack that looks for the nearest wrong input: its distances, and what radii make of them."""

import numpy as np
import pytest

from harness.results.codec import unpack_distances, unpack_outcomes
from harness.storage.store import Store
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, matrix

NEAR = PERTURB.format(
    """x = x.clone().requires_grad_(True)
        (g,) = torch.autograd.grad(model.loss(x, y).sum(), x)
        x, found = x.detach(), x.detach().clone()
        for scale in torch.linspace(1, 0.02, 50):
            step = (x + scale * g.sign()).clamp(0, 1)
            wrong = model.predict(step).argmax(1) != y
            found[wrong] = step[wrong]
        return found"""
)
AWAY = PERTURB.format("return x + 0.5")
KEPT = PERTURB.format("return (x + 0.004).clamp(0, 1)")
BUDGETS = [{"norm": "linf", "eps": eps} for eps in (0.05, 0.11, 0.3)]
NEAREST = {"norm": "linf", "minimal": True}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    own = Checkout(tmp_path_factory.mktemp("checkout"))
    fields = {"needs": ["loss"], "requires": [{"limits": ["minimal_linf"]}]}
    for name, code in (("near", NEAR), ("away", AWAY), ("kept", KEPT)):
        own.module("attack", name, code, **fields)
    own.benchmark(
        matrix(
            attacks=["near", "away", "kept"],
            budgets=[*BUDGETS, NEAREST],
            ensembles={"both": ["near", "kept"]},
        )
    )
    own.run()
    found = {(r.cell.attack, r.cell.budget_label): r for r in own.records().values()}
    return own, found


def test_a_radius_counts_what_lies_within(done):
    _, found = done
    nearest = found["near", "nearest in L∞"]
    distances = unpack_distances(nearest.outcomes)
    assert 0 < np.median(distances) < 0.3
    for eps in (0.05, 0.11, 0.3):
        record = found["near", f"L∞ {eps}"]
        right = unpack_outcomes(record.outcomes)["after"]
        before = unpack_outcomes(record.outcomes)["before"]
        assert (right & before).tolist() == (distances > eps + 1e-6).tolist()
        beyond = int(np.sum((distances > eps + 1e-6) & np.isfinite(distances)))
        assert any(note.startswith(f"{beyond} of 40 inputs") for note in record.notes) == bool(
            beyond
        )
    assert nearest.metric("median_distance") == pytest.approx(np.median(distances))
    assert nearest.metrics["median_distance"].method == "order statistics"


def test_the_attack_ran_once(done):
    _, found = done
    assert len({r.stages["attack"] for (name, _), r in found.items() if name == "near"}) == 1


def test_a_new_radius_costs_no_attack(done):
    own, _ = done
    stages = own.home / "store"
    before = {path.name for path in stages.glob("??/*")}
    assert any(Store(stages).receipt(key).kind == "attack" for key in before if len(key) == 64)
    own.benchmark(matrix(attacks=["near"], budgets=[{"norm": "linf", "eps": 0.2}]), name="more")
    own.run("more")
    new = {path.name for path in stages.glob("??/*")} - before
    kinds = {Store(stages).receipt(key).kind for key in new if len(key) == 64}
    assert kinds == set()


def test_what_is_no_picture_is_a_violation_at_any_distance(done):
    _, found = done
    for budget in ("L∞ 0.05", "nearest in L∞"):
        record = found["away", budget]
        assert (record.status, record.by) == ("budget_violation", "attack")
        assert "the largest value is 1.5" in record.reason


def test_a_right_input_is_a_failure_of_the_attack_alone(done):
    _, found = done
    record = found["kept", "nearest in L∞"]
    assert record.status == "ok"
    assert record.metrics["median_distance"].absent.startswith("fewer than half")
    assert record.metric("attack_success_rate") < 0.2


def test_an_ensemble_has_the_nearest_of_its_members(done):
    _, found = done
    both, near = found["both", "nearest in L∞"], found["near", "nearest in L∞"]
    assert unpack_distances(both.outcomes).max() <= unpack_distances(near.outcomes).max()
    assert both.metric("median_distance") <= near.metric("median_distance")
