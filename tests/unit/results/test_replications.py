"""Replications: which records ask the same question, and whether they agree."""

import pytest

from harness.commands.reproduce import compared
from harness.results.records import from_brief, to_brief
from harness.results.replications import TOLERANCE, compare, replications
from tests.unit.results.test_records import RECORD, made

INSIDE = {"environment": RECORD["environment"] | {"executor": "docker"}, "key": "i" * 64}


def run_of(**changes):
    return {"run": RECORD["run"] | changes}


def figures(value, **more):
    """A record whose accuracy is this."""
    metrics = {"accuracy": {"value": value, "k": 1, "n": 2}} | more
    return {"metrics": metrics, "outcomes": RECORD["outcomes"] | {"before": "QA=="}}


def test_a_cell_made_in_containers_and_outside_is_equal():
    found = replications(made(), [made(), made(**INSIDE)])
    assert str(found) == "made twice, in containers and outside: equal"
    assert found.others == (made(**INSIDE),)
    assert found.unexplained is None


def test_a_cell_made_once_has_none():
    assert replications(made(), [made()]) is None
    assert replications(None, []) is None


def test_a_record_that_was_judged_again_from_the_same_stages_is_none():
    again = made(**run_of(id="later", finished="2026-02-01T00:00:00+00:00"))
    assert replications(made(), [again]) is None
    computed = made(**run_of(id="later", seconds={"after": 0.2}))
    assert str(replications(made(), [again, computed])) == ("made twice, both times outside: equal")


@pytest.mark.parametrize(
    "change",
    [
        {"modules": {"attacks/pgd": "other"}},
        {"params": {"attack": {"steps": 8}}},
        {"method": 2},
        {"members": ["a"]},
        {"id": "another/cell"},
        {"cell": RECORD["cell"] | {"goal": "targeted: least_likely"}},
        {"outcomes": RECORD["outcomes"] | {"ids": "e" * 64}},
        {"status": "timeout", "stage": "attack", "reason": "slow", "metrics": {}},
    ],
)
def test_a_record_of_another_question_and_a_failure_are_none(change):
    other = made(**INSIDE | change)
    assert replications(made(), [other]) is None
    assert replications(other, [made()]) is None


@pytest.mark.parametrize(
    ("value", "says", "within"),
    [
        (0.504, "accuracy 50.00 % and 50.40 %, within 1.5 points", True),
        (0.515, "accuracy 50.00 % and 51.50 %, within 1.5 points", True),
        (0.516, "accuracy 50.00 % and 51.60 %, further apart than 1.5 points", False),
        (None, "accuracy 50.00 % and undefined, further apart than 1.5 points", False),
        (0.5, "equal figures of other examples", True),
    ],
)
def test_figures_are_compared_where_outcomes_differ(value, says, within):
    other = {"value": value, "k": 1, "n": 2} if value is not None else {"absent": "why"}
    found = compare(made(), made(**figures(0.5) | {"metrics": {"accuracy": other}}))
    assert (str(found), found.within, found.equal) == (says, within, False)
    assert TOLERANCE == 0.015


def test_figures_that_are_no_rates_keep_their_unit():
    first, second = (made(metrics={"auc": {"value": v}}) for v in (0.5, 0.625))
    assert str(compare(first, second)).startswith("auc 0.5000 and 0.6250, further apart")


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"accuracy": {"value": 0.9, "k": 1, "n": 2}}},
        {"metrics": RECORD["metrics"] | {"accuracy": {"value": 0.5, "k": 1, "n": 3}}},
        {"parts": {"class 3": {"value": 0.9}}},
    ],
)
def test_a_brief_record_whose_figures_are_not_those_of_its_digest_never_agrees(change):
    record = made()
    false = from_brief(to_brief(record) | change, "a page")
    assert false.result == record.result
    found = compare(false, record)
    assert (found.equal, found.within) == (False, False)
    assert str(found) == "one outcome digest beside different figures"
    *_, last = compared(false, record)
    assert last.endswith("OUTSIDE: the recorded figures are not those of its outcome digest")
    assert compare(from_brief(to_brief(record), "a page"), record).equal


@pytest.mark.parametrize(
    ("first", "second", "within"), [(20.0, 20.1, True), (0.020, 0.030, False), (0.0, 0.0, True)]
)
def test_a_figure_without_a_scale_is_compared_as_a_share_of_itself(first, second, within):
    one, other = (made(**figures(0.5, flip_margin={"value": v})) for v in (first, second))
    other = other.model_copy(update={"outcome": "another"})
    found = compare(one, other)
    assert found.within is within
    if first != second:
        beyond = "within" if within else "further apart than"
        assert str(found).endswith(f", {beyond} 1.5 %")


def test_other_statuses_never_agree():
    failed = made(status="timeout", stage="attack", reason="slow", metrics={})
    found = compare(made(), failed)
    assert (str(found), found.within) == ("ok and timeout", False)


def test_a_difference_counts_where_the_harness_was_the_same():
    other = made(**INSIDE | figures(0.7))
    apart = "accuracy 50.00 % and 70.00 %, further apart than 1.5 points"
    for keys, counts in (((), False), ({"k" * 64}, False), ({"k" * 64, "i" * 64}, True)):
        found = replications(made(), [other], keys)
        assert str(found) == f"made twice, in containers and outside: {apart}"
        assert (found.unexplained is not None) is counts, keys
    near = replications(made(), [made(**INSIDE | figures(0.501))], {"k" * 64, "i" * 64})
    assert near.unexplained is None


def test_contradictory_records_of_one_key_are_told_without_a_plan():
    found = replications(made(), [made(**figures(0.7))])
    assert found.unexplained is not None


def test_of_several_the_worst_is_told_and_how_often_and_where_it_was_made():
    others = [
        made(**INSIDE),
        made(**figures(0.503) | run_of(machine="another", seconds={"after": 9.0})),
        made(**run_of(commit="c" * 40, seconds={"after": 8.0})),
    ]
    assert str(replications(made(), others)) == (
        "made 4 times, once in containers and 3 times outside, on 2 machines, at 2 commits: "
        "accuracy 50.00 % and 50.30 %, within 1.5 points"
    )
