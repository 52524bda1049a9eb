"""Why a record is stale, and which of several counts."""

import pytest

from harness.datasets import DataMissing, Datasets
from harness.judge import METHOD
from harness.report import selection
from harness.report.counting import counting
from tests.support.errors import raises_error
from tests.support.module_sources import SIGN
from tests.support.workspaces import Checkout, cell, matrix
from tests.unit.report.test_frame import CONTAINED, both, record

SIGNED = {"attacks": ["sign"], "victims": ["tiny"]}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def stale(checkout, made):
    found = counting(checkout.workspace(), [made])
    assert found.record == made
    assert (found.selected is None) == (found.error is not None)
    return found.error and found.error.what


def made(checkout, **changes):
    """A record of today's plan, as a run would write it."""
    one = cell(checkout.plan(matrix(**SIGNED)))
    return record(one, params={role: dict(p) for role, p in one.params.items()}, **changes)


def longer(checkout):
    checkout.benchmark(matrix(**SIGNED | {"victims": [{"name": "tiny", "params": {"steps": 9}}]}))


CHANGES = {
    "module": (lambda c: c.module("attack", "sign", SIGN + "#"), "attacks/sign"),
    "parameter": (longer, "the parameters of the victim"),
    "examples": (
        lambda c: c.benchmark(matrix(**SIGNED, eval_subset={"examples": 50, "batch": 20})),
        "the data or the choice of test examples",
    ),
    "batch": (
        lambda c: c.benchmark(matrix(**SIGNED, eval_subset={"examples": 40, "batch": 10})),
        "the harness or its environment",
    ),
    "clash": (
        lambda c: c.module("attack", "sign", SIGN, tasks=["ranking"]),
        "attacks/sign, what can be played (",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_stale_record_says_what_changed(checkout, what):
    change, reason = CHANGES[what]
    old = made(checkout)
    assert stale(checkout, old) is None
    change(checkout)
    assert stale(checkout, old).startswith(f"stale: {reason}")
    assert stale(checkout, old).endswith(" changed since")


def test_changed_data_a_changed_judge_and_a_changed_method_are_told_apart(checkout, monkeypatch):
    old = made(checkout)
    assert stale(checkout, made(checkout, method=METHOD + 1)).startswith(
        "stale: the judge's method"
    )
    with monkeypatch.context() as patch:
        patch.setattr(Datasets, "key_digest", lambda *_: "new")
        assert (
            stale(checkout, old) == "stale: the data or the choice of test examples changed since"
        )
    with monkeypatch.context() as patch:
        patch.setattr("harness.planning.plan.judge_digest", lambda: "new")
        assert stale(checkout, old) == "stale: the judge changed since"
    with monkeypatch.context() as patch:
        patch.setattr("harness.planning.stage_keys.runtime_digest", lambda: "new")
        assert stale(checkout, old) == "stale: the harness or its environment changed since"


def test_a_stale_record_is_compared_with_the_plan_for_its_own_executor(checkout):
    _, local = both(checkout)
    outside = cell(local, attack="sign")
    found = [
        record(cell(local, attack="sign"), "timeout", key="x", environment=CONTAINED),
        record(outside, key="old", hour=3),
    ]
    checkout.module("attack", "sign", SIGN + "#")
    chosen = counting(checkout.workspace(), found)
    assert chosen.record == found[1]
    assert chosen.warning == "stale: attacks/sign changed since; this is the latest record"


def test_where_the_data_are_not_at_hand_nothing_is_called_stale(checkout, monkeypatch):
    old = made(checkout)

    def absent(*_):
        raise DataMissing("data set digits", "is not in /home/me", "fetch it")

    monkeypatch.setattr(Datasets, "key_digest", absent)
    found = counting(checkout.workspace(), [old])
    said = "not planned: data set digits: is not in /home/me; fetch it"
    assert found.warning == f"{said}; this is the latest record"
    with raises_error("cell-not-planned", where="b/m/tiny/none/sign/linf-0.1/s0"):
        found.current()


def test_the_record_of_a_cell_is_the_same_for_the_whole_plan_and_for_the_cell(checkout):
    plans = both(checkout)
    inside, outside = (cell(plan, attack="sign") for plan in plans)
    old = record(outside, hour=7, key="old")
    late = record(outside, hour=5)
    early = record(inside, "timeout", hour=1, environment=CONTAINED)
    for found, expected in (
        ([old], old),
        ([old, late], late),
        ([old, late, early], early),
        ([old, record(inside, "timeout", key="x", hour=9, environment=CONTAINED)], old),
    ):
        for order in (found, found[::-1]):
            whole = selection.select(plans, order)[inside.id]
            one = counting(checkout.workspace(), order)
            assert whole.record == one.record == expected
            assert whole.stale == (one.error is not None) == (expected is old)


def test_only_the_cell_s_neighbours_are_planned_and_its_key_is_the_same(checkout):
    """``show`` of one cell must not plan a hundred thousand."""
    plan = checkout.plan(
        matrix(
            victims=["tiny", "tiny/short"],
            defenses=["none", "guard"],
            attacks=["noop", "sign"],
            ensembles={"both": ["noop", "sign"]},
            seeds=[0, 1, 2],
        )
    )
    wanted = cell(plan, victim="tiny/short", defense="guard", attack="both", seed=2)
    found = counting(checkout.workspace(), [record(wanted)])
    assert found.current().cell.key == wanted.key
    assert len(found.current().plan.cells) == 3
    assert {wanted.id, *wanted.members} == found.current().plan.cells.keys()
