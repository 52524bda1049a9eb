"""Flags that compare several cells of a leaderboard."""

from dataclasses import replace

import pytest

from harness.report.leaderboard import tables
from harness.results.replications import replications
from tests.support import synthetic
from tests.support.leaderboards import SMALL, row_at, rows_of


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


@pytest.mark.parametrize(
    ("weak", "other", "expected"),
    [
        (0.5, {"objective": "dlr"}, [("another_loss_does_better", "apgd")]),
        (0.97, {"objective": "dlr"}, []),
        (0.5, {"objective": "dlr", "steps": 90}, []),
        (0.5, {"objective": "dlr", "restarts": 5}, []),  # more effort is no other loss
    ],
)
def test_cross_flags_an_attack_that_another_loss_exceeds(weak, other, expected):
    attacks = {"apgd": weak, "apgd/dlr": 1.0, "noop": 0.0}
    frame = synthetic.frame(replace(SMALL, attacks=attacks))

    def change(record):
        cell = record.cell.model_copy(update={"attack_module": record.cell.attack.split("/")[0]})
        params = {"steps": 100, "restarts": 1, "objective": "ce"}
        params |= other if "dlr" in cell.attack else {}
        return {"params": {"attack": params}, "cell": cell}

    synthetic.alter(frame, change)
    rows = {row.defense: row for row in tables(frame)[0].rows}
    assert [(f.name, f.attack) for f in rows["weak"].flags] == expected


def replicated(change, *, today=True):
    """A suite in which one cell was also made in containers, and the text of its replications."""
    frame = synthetic.frame(replace(SMALL, seeds=(0,)))
    frame["replications"] = None
    i = row_at(frame, "weak", "fgsm")
    record = frame.at[i, "record"]
    inside = record.environment.model_copy(update={"executor": "docker"})
    other = synthetic.altered(record, key="0" * 64, environment=inside, **change(record))
    keys = {record.key, other.key} if today else set()
    frame.at[i, "replications"] = replications(record, [record, other], keys)
    rows, _ = rows_of(frame)
    return [(flag.name, flag.attack, flag.text) for flag in rows["weak"].flags]


def further(points):
    def change(record):
        metric = record.metrics["robust_accuracy"]
        other = metric.model_copy(update={"value": metric.value + points})
        return {"metrics": record.metrics | {"robust_accuracy": other}}

    return change


def test_replications_that_differ_are_flagged_and_equal_ones_are_not():
    assert not replicated(lambda record: {})
    assert not replicated(further(0.01))
    ((name, attack, text),) = replicated(further(0.05))
    assert (name, attack) == ("replications_differ", "fgsm")
    assert text.startswith("made twice, in containers and outside: robust accuracy ")
    assert text.endswith("further apart than 1.5 points; it depends on where it is made")


def test_replications_of_another_harness_may_differ():
    assert not replicated(further(0.05), today=False)


def test_contradictory_records_of_one_key_are_flagged():
    frame = synthetic.frame(replace(SMALL, seeds=(0,)))
    frame["replications"] = None
    i = row_at(frame, "weak", "fgsm")
    record = frame.at[i, "record"]
    other = synthetic.altered(record, **further(0.05)(record))
    frame.at[i, "replications"] = replications(record, [record, other])
    rows, _ = rows_of(frame)
    (flag,) = rows["weak"].flags
    assert flag.text.startswith("made twice, both times outside, of one key: robust accuracy ")
    assert flag.text.endswith("; something in it is not deterministic")
