"""A network that always answers the same is no defence: who keeps no more is better than none."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from harness.commands.report import make_grid
from harness.report.constant_answer import exceeds
from harness.report.site import exports, findings
from harness.report.worst_case import Estimate
from tests.support import synthetic
from tests.support.leaderboards import BACKDOOR, POISON, SMALL, rows_of

WEAK = replace(SMALL, defenses={"lazy": 0.09, "none": 0.0}, attacks={"pgd": 1.0}, examples=500)


def board(suite, share, clean=None, of=None, budget=None):
    """Return rows and table, where the most frequent class has this share of the examples.

    Only records of the defence ``of`` say so, where one is given.
    """
    frame = synthetic.frame(suite)
    if budget is not None:
        frame["budget"] = [budget] * len(frame)
    rate = {"level": 0.95, "method": "wilson"}
    more = {"constant_accuracy": {"value": share} | rate}
    if clean is not None:
        more["clean_accuracy"] = {"value": clean, "k": round(clean * 500), "n": 500} | rate

    def change(record):
        said = of in (None, record.cell.defense)
        return {"metrics": record.to_json()["metrics"] | (more if said else {})}

    return rows_of(synthetic.alter(frame, change))


def sentence(table) -> str:
    return "".join(part.text for part in findings.ranking(table))


def test_less_than_a_constant_answer_is_better_than_nothing():
    alone, _ = rows_of(WEAK)
    assert (alone["lazy"].place, alone["none"].beaten_by) == ("1", ("lazy",))
    rows, table = board(WEAK, 0.11)
    assert [(row.place, row.beaten_by) for row in rows.values()] == [("1–2", ())] * 2
    assert {row.as_constant for row in rows.values()} == {0.11}
    assert sentence(table).startswith("No row keeps significantly more than a network that gives")
    assert findings.first_place(table) == "none keeps more than a constant answer"
    out = io.StringIO()
    Console(file=out, width=200).print(make_grid(table))
    for text in (out.getvalue(), exports.ranking_csv([table]), exports.results_json([table])):
        assert "no better than a constant" in text


def test_more_than_a_constant_answer_leads():
    rows, table = board(replace(WEAK, defenses={"good": 0.5, "none": 0.0}), 0.11)
    assert (rows["good"].place, rows["good"].as_constant) == ("1", None)
    assert rows["none"].as_constant == 0.11
    assert "no better than a constant" not in {one.name for one in rows["good"].caveats}
    assert sentence(table).startswith("good leads")


def test_a_record_without_the_figure_is_held_against_that_of_the_others():
    rows, _ = board(WEAK, 0.11, of="none")
    assert [row.place for row in rows.values()] == ["1–2", "1–2"]


def test_what_counts_no_examples_is_not_tested():
    assert exceeds(Estimate(0.05), 0.1)
    assert not exceeds(Estimate(0.0, examples=10), 0.1)


def test_two_kinds_of_rows_keep_their_order():
    rows, _ = board(replace(WEAK, defenses={"good": 0.5, "lazy": 0.09, "none": 0.0}), 0.11)
    assert [row.place for row in rows.values()] == ["1", "2–3", "2–3"]


def test_a_network_without_accuracy_has_no_rank_where_success_ranks():
    rows, table = board(replace(BACKDOOR, examples=500), 0.11, clean=0.12)
    assert not table.rows
    texts = {one.name: one.text for one in rows["strong"].caveats}
    assert texts["limit"] == "at least, because of a network that has learned next to nothing"
    assert texts["no better than a constant"] == (
        "without an attack, the same answer to every input keeps 11.0%"
    )
    assert "it is no better than one class for all inputs" in sentence(table)


def test_distances_are_not_held_against_it():
    rows, _ = board(WEAK, 0.11, budget={"norm": "linf", "minimal": True})
    assert {row.as_constant for row in rows.values()} == {None}


def test_where_accuracy_ranks_it_is_no_reason_to_have_no_rank():
    rows, table = board(replace(WEAK, attacks={"noop": 0.0}), 0.11, clean=0.11)
    assert {row.as_constant for row in rows.values()} == {None}
    assert "no attack applies" in sentence(table)


@pytest.mark.parametrize("suite", [SMALL, BACKDOOR, POISON], ids=lambda s: s.threat_model)
def test_without_the_figure_nothing_changes(suite):
    rows, _ = rows_of(suite)
    assert {row.as_constant for row in rows.values()} == {None}
