"""Targeted matrices of segmentation: each image meets the attack that reaches most targets."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from harness.judge.maps import Aimed
from harness.report.leaderboard import tables
from harness.report.resisting import by_image
from harness.report.worst_case import Outcome
from harness.results.codec import pack_aimed
from tests.support import synthetic
from tests.support.leaderboards import MAPS

RNG = np.random.default_rng(5)
ASKED = RNG.integers(20, 100, 40)


def outcome(reached: np.ndarray, asked: np.ndarray = ASKED) -> Outcome:
    after = {"after": np.ones((len(asked), 1, 2), int)}
    return Outcome("m", {}, after, Aimed(asked, reached, reached))


def frame(shares: dict[str, float], old: tuple[str, ...] = ()) -> pd.DataFrame:
    """Attack → share of its targets that it reaches on the undefended network; half on others."""
    suite = synthetic.Suite(**{**vars(MAPS), "attacks": dict.fromkeys(shares, 1.0), "seeds": (0,)})
    found = synthetic.frame(suite)
    found["goal"] = "targeted: next"
    made = []
    for record in found.record:
        share = shares[record.cell.attack] * (1.0 if record.cell.defense == "none" else 0.5)
        reached = np.round(share * ASKED).astype(int)
        parts = dict(record.to_json()["confusions"])
        metrics = dict(record.to_json()["metrics"])
        if record.cell.attack not in old:
            parts["targets"] = pack_aimed(Aimed(ASKED, reached, ASKED))
            value = float(reached.sum() / ASKED.sum())
            metrics["targeted_success_rate"] = {"value": value, "lo": value, "hi": value}
        more = {"confusions": parts, "metrics": metrics}
        made.append(synthetic.altered(record, **more))
    found["record"] = made
    return found


def test_no_other_choice_of_attacks_reaches_more():
    reached = RNG.integers(0, 20, (2, 6))
    asked = np.full(6, 20)
    runs = {name: {0: outcome(row, asked)} for name, row in zip("ab", reached, strict=True)}
    best = max(sum(reached[a, i] for i, a in enumerate(choice))
               for choice in product((0, 1), repeat=6))  # fmt: skip
    worst = by_image(runs)
    assert worst.score.value == pytest.approx(1 - best / 120)
    assert worst.without["a"] == pytest.approx(1 - reached[1].sum() / 120)
    assert worst.score.lo <= worst.score.value <= worst.score.hi


def test_nothing_and_nothing_asked_is_nothing():
    assert by_image({}) is None
    assert by_image({"a": {0: outcome(np.zeros(40, int), np.zeros(40, int))}}) is None


def test_a_targeted_table_is_headed_by_pixels_that_become_their_target():
    (table,) = tables(frame({"pgd": 0.6, "fgsm": 0.3, "noop": 0.0}))
    rows = {row.defense: row for row in table.rows}
    assert table.headline.metric == "targeted_success_rate"
    assert rows["none"].score.value == pytest.approx(0.6, abs=0.01)
    assert {row.strongest for row in rows.values()} == {"pgd"}
    assert rows["none"].rank > rows["strong"].rank == 1
    assert rows["none"].untargeted.value < rows["none"].clean.value
    gains = {a.attack: a.only_it_breaks for a in table.attacks}
    assert gains["pgd"] > gains["fgsm"] == 0
    assert "pgd" not in table.misses


def test_attacks_whose_errors_miss_the_targets_are_named():
    (table,) = tables(frame({"odd": 0.1, "noop": 0.0}))
    assert list(table.misses) == ["odd"]
    assert table.aimless


def test_an_old_record_does_not_count_targets_and_is_a_gap():
    (table,) = tables(frame({"pgd": 0.6, "old": 0.3, "noop": 0.0}, old=("old",)))
    assert table.rows == ()
    for row in table.unranked:
        assert [gap.attack for gap in row.gaps] == ["old"]
        assert row.gaps[0].reason
    cells = {cell.attack: cell for cell in table.unranked[0].cells}
    assert cells["old"].reason
    assert cells["old"].score is None
