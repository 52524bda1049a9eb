"""Certified shares in tables: means over seeds, and nothing where an attack contradicts them."""

from dataclasses import replace

from harness.report.leaderboard import tables
from tests.support import synthetic
from tests.support.leaderboards import SMALL

SUITE = replace(SMALL, budgets=(("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255)), seeds=(0, 1))
CERTIFIED = {"value": 0.25, "level": 0.95, "method": "wilson"}


def certified(frame):
    """Defence → its certified shares, a budget each."""
    found = {}
    for table in tables(frame):
        for row in (*table.rows, *table.unranked):
            found.setdefault(row.defense, []).append(row.certified)
    return found


def frame_of():
    change = {"certified_accuracy": CERTIFIED}
    return synthetic.alter(
        synthetic.frame(SUITE), lambda record: {"metrics": record.to_json()["metrics"] | change}
    )


def test_the_share_is_shown_under_each_budget():
    found = certified(frame_of())
    assert found.keys() == SUITE.defenses.keys()
    assert set(map(tuple, found.values())) == {(0.25, 0.25)}


def test_one_contradiction_takes_the_share_from_every_budget_of_the_defence():
    frame = frame_of()
    wrong = (frame.defense == "strong") & (frame.attack == "pgd") & (frame.seed == 1)
    frame.loc[frame.index[wrong & (frame.eps == 4 / 255)], "status"] = "contradicts_proof"
    found = certified(frame)
    assert found.pop("strong") == [None, None]
    assert set(map(tuple, found.values())) == {(0.25, 0.25)}
