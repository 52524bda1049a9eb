"""What the score does with artefacts, where no whole run is needed to see it."""

import numpy as np
import pytest

from harness.files import save_array
from harness.judge.values import Absent
from harness.scoring import foreign_labels, goal_of, score
from harness.store import Store

KEY = "ab" * 32
INFO = {
    "threat_model": "evasion-query",
    "budget": {"queries": 5},
    "data": {"student": "digits"},
    "knowledge": "none",
    "goal": "untargeted",
}


def test_an_oracle_that_answered_more_than_the_budget_is_a_violation(tmp_path):
    store = Store(tmp_path / "store")
    save_array(tmp_path / "out" / "oracle" / "counts.npy", np.array([0, 6, 2]))
    store.commit(KEY, tmp_path / "out", {"status": "ok", "oracle": {"refused": 0}})
    judged = score(INFO, {"attack": KEY}, store)
    assert judged.status == "budget_violation"
    assert judged.reason == "6 queries for one example, the limit is 5"


@pytest.mark.parametrize(
    ("threat", "data", "foreign"),
    [
        ("evasion", {"student": "a"}, False),
        ("evasion-transfer", {"student": "a", "public": "b"}, True),
        ("evasion-transfer", {"student": "a", "public": "a"}, False),
        ("supply-chain", {"student": "a", "public": "b"}, True),
        ("supply-chain", {"student": "a", "public": "b", "attacker": "a"}, False),
    ],
)
def test_a_target_class_means_nothing_across_label_spaces(threat, data, foreign, tmp_path):
    info = INFO | {"threat_model": threat, "data": data}
    assert foreign_labels(info) is foreign
    if foreign:
        store = Store(tmp_path / "store")
        assert isinstance(goal_of(info, {"goal": KEY}, store, {}), Absent)
