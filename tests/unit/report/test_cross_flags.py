"""Flags that compare several cells of a leaderboard."""

from dataclasses import replace

from harness.report.leaderboard import tables
from tests.support import synthetic
from tests.support.leaderboards import SMALL


def test_cross_flags_success_that_falls_as_the_budget_grows():
    suite = replace(SMALL, budgets=(("L∞ 4/255", 4 / 255), ("L∞ 8/255", 8 / 255)))
    frame = synthetic.frame(suite)
    small, large = (frame.budget_label == label for label, _ in suite.budgets)
    chosen = (frame.defense == "weak") & (frame.attack == "pgd")
    records = frame.record[chosen & small].tolist(), frame.record[chosen & large].tolist()
    for i, record in zip(frame.index[chosen & small], records[1], strict=True):
        frame.at[i, "record"] = record
    for i, record in zip(frame.index[chosen & large], records[0], strict=True):
        frame.at[i, "record"] = record
    large_table = tables(frame)[0]
    rows = {row.defense: row for row in (*large_table.rows, *large_table.unranked)}
    assert [(f.name, f.attack) for f in rows["weak"].flags] == [
        ("success_falls_with_radius", "pgd"),
        ("success_falls_with_budget", "pgd"),
    ]
    assert not rows["strong"].flags


def test_cross_flags_a_query_attack_that_beats_gradients():
    white = replace(SMALL, attacks={"pgd": 0.5, "noop": 0.0}, seeds=(0,))
    query = replace(white, matrix="query", threat_model="evasion-query", attacks={"square": 1.0})
    frame = synthetic.frame(white, query)
    for record in frame.record:
        record.stages["slice"] = "the same"
    flags = {
        (table.matrix, row.defense): [flag.name for flag in row.flags]
        for table in tables(frame)
        for row in (*table.rows, *table.unranked)
    }
    assert flags["query", "none"] == ["query_beats_whitebox"]
    assert flags["linf", "none"] == ["query_beats_gradients"]


def test_cross_flags_an_attack_that_gains_with_twice_the_steps():
    frame = synthetic.frame(replace(SMALL, attacks={"pgd": 0.5, "pgd/long": 1.0, "noop": 0.0}))

    def steps(record):
        cell = record.cell.model_copy(update={"attack_module": record.cell.attack.split("/")[0]})
        return {"params": {"attack": {"steps": 40 if "long" in cell.attack else 20}}, "cell": cell}

    synthetic.alter(frame, steps)
    rows = {row.defense: row for row in tables(frame)[0].rows}
    assert [(f.name, f.attack) for f in rows["weak"].flags] == [("not_converged", "pgd")]
