"""Cells without a result: which count as gaps, which do not count, and with which reason."""

from dataclasses import replace

import pytest

from tests.support import synthetic
from tests.support.leaderboards import BACKDOOR, SMALL, row_at, rows_of


def test_missing_result_of_an_applicable_attack_is_an_upper_bound_below_the_line():
    timeout = {("strong", "pgd"): ("timeout", "stopped at 5 min")}
    rows, table = rows_of(replace(SMALL, gaps=timeout))
    row = rows["strong"]
    assert row in table.unranked
    assert (row.rank, row.bound, row.covered, row.applicable) == (None, "upper", 1, 2)
    assert [(gap.attack, gap.word, gap.reason) for gap in row.gaps] == [
        ("pgd", "timeout", "in the attack: stopped at 5 min")
    ]
    assert row.score.value > rows_of(SMALL)[0]["strong"].score.value
    assert all("strong" not in other.beaten_by for other in table.rows)


def test_one_failed_seed_is_a_gap_that_says_which():
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "fgsm", seed=1)
    frame.loc[i, ["status", "stage", "reason"]] = ["module_error", "attack", "IndexError"]
    rows, _ = rows_of(frame)
    (gap,) = rows["weak"].gaps
    assert gap.score is None
    assert (gap.word, gap.reason, gap.ok, gap.planned) == ("error", "seed 1: IndexError", 2, 3)


def test_not_applicable_does_not_count_and_avoided_does():
    gaps = {
        ("weak", "fgsm"): ("not_applicable", "attack fgsm does not do classification"),
        ("none", "fgsm"): ("avoided", "none is random; fgsm needs otherwise"),
    }
    rows, table = rows_of(replace(SMALL, gaps=gaps))
    assert (rows["weak"].rank, rows["weak"].covered, rows["weak"].applicable) == (3, 1, 1)
    assert (rows["none"].rank, rows["none"].covered, rows["none"].applicable) == (None, 1, 2)
    (gap,) = rows["none"].gaps
    assert (gap.word, gap.by) == ("avoided", "defense")
    assert gap.reason == "made impossible by the defence: none is random; fgsm needs otherwise"
    (fgsm,) = [attack for attack in table.attacks if attack.attack == "fgsm"]
    assert (fgsm.covered, fgsm.applicable) == (2, 3)


def test_a_reason_s_first_words_decide_nothing():
    gaps = {("weak", "fgsm"): ("not_applicable", "defence and attack do not meet")}
    rows, _ = rows_of(replace(SMALL, gaps=gaps))
    assert rows["weak"].rank is not None
    assert not rows["weak"].gaps


@pytest.mark.parametrize("by", ["victim", "attack"])
def test_what_victim_or_attack_declines_beside_one_defence_only_is_that_defence_s_gap(by):
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "fgsm", seed=1)
    frame.loc[i, ["status", "stage", "reason", "by"]] = ["not_applicable", "train", "no", by]
    rows, _ = rows_of(frame)
    (gap,) = rows["weak"].gaps
    assert (gap.status, gap.by) == ("avoided", "defense")
    assert f"the {by} declines beside this defence only: no" in gap.reason
    assert rows["weak"].rank is None


@pytest.mark.parametrize("by", ["victim", "attack"])
def test_what_victim_or_attack_declines_beside_every_defence_is_nobody_s_gap(by):
    frame = synthetic.frame(SMALL)
    told = ["not_applicable", "train", "no", by]
    for defense in frame.defense.unique():
        for seed in SMALL.seeds:
            i = row_at(frame, defense, "fgsm", seed)
            frame.loc[i, ["status", "stage", "reason", "by"]] = told
    rows, _ = rows_of(frame)
    assert not any(row.gaps for row in rows.values())
    (cell,) = (cell for cell in rows["weak"].cells if cell.attack == "fgsm")
    assert (cell.status, cell.reason) == ("not_applicable", f"declined by the {by}: no")


def test_records_of_other_examples_are_no_evidence():
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "pgd")
    record = frame.at[i, "record"]
    outcomes = {**record.outcomes, "ids": "of another slice"}
    frame.at[i, "record"] = synthetic.altered(record, outcomes=outcomes)
    row = rows_of(frame)[0]["weak"]
    assert row.rank is None
    assert row.gaps[0].word == "other examples"


@pytest.mark.parametrize("broken", ["?", "AAAA", None])
def test_unreadable_outcomes_are_a_gap_not_a_crash(broken):
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "weak", "pgd")
    record = frame.at[i, "record"]
    outcomes = {**record.outcomes, "after": broken}
    frame.at[i, "record"] = record.model_copy(update={"outcomes": outcomes})
    assert rows_of(frame)[0]["weak"].rank is None


def test_undefined_success_is_said_and_not_zero():
    frame = synthetic.frame(BACKDOOR)
    for i in frame.index[frame.defense == "weak"]:
        record = frame.at[i, "record"]
        absent = {"attack_success_rate": {"absent": "no input was right before the attack"}}
        frame.at[i, "record"] = synthetic.altered(record, metrics=record.metrics | absent)
    row = rows_of(frame)[0]["weak"]
    assert row.score is None
    assert row.rank is None
    assert {cell.word for cell in row.cells} == {"undefined"}
    assert row.cells[0].reason == "no input was right before the attack"
