"""The frame: every planned cell is a row, whatever came of it."""

import copy

import pandas as pd
import pytest

from harness.judge import METHOD
from harness.report import frame
from harness.report.cells import cell_rows
from harness.results import record_tree, records
from tests.support.errors import raises_error
from tests.support.workspaces import POISONING, Checkout, cell, matrix


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def plan(checkout):
    return checkout.plan(
        matrix(
            attacks=["noop", "sign", "flip"],
            defenses=["none", "guard"],
            budgets=[{"norm": "linf", "eps": 0.1}, {"norm": "l2", "eps": 2}],
            ensembles={"both": ["noop", "sign"]},
        )
    )


def record(one, status="ok", hour=0, **changes):
    """A record of a cell as a run would have written it."""
    value = {
        "value": 0.25,
        "k": 10,
        "n": 40,
        "lo": 0.1,
        "hi": 0.4,
        "level": 0.95,
        "method": "wilson",
    }
    fine = status == "ok"
    return records.finish(
        {
            "key": one.key,
            "id": one.id,
            "cell": copy.deepcopy(one.info.to_json()),
            "status": status,
            "stage": None if fine else "attack",
            "reason": None if fine else "why",
            "metrics": {"accuracy": value, "auc": {"absent": "one class only"}} if fine else {},
            "parts": {},
            "outcomes": None,
            "confusions": None,
            "perturbation": None,
            "queries": None,
            "cost": {},
            "flags": [],
            "notes": [],
            "stages": one.stages,
            "members": list(one.members),
            "modules": dict(one.modules),
            "params": {},
            "method": METHOD,
            "environment": {"executor": "local", "device": "cpu", "python": "3", "torch": "2",
                            "lock": "l", "threads": 1},
            "run": {"id": "r", "commit": None, "dirty": None, "seconds": {}, "hook_seconds": {},
                    "finished": f"2026-01-01T{hour:02}:00:00+00:00", "peak_memory": {},
                    "machine": "m"},
        }
        | changes
    )  # fmt: skip


def rows_of(plan, found):
    return frame.build([plan], found).set_index("cell_id")


def test_without_any_record_every_cell_is_there_with_a_status(plan):
    rows = rows_of(plan, [])
    assert list(rows.index) == list(plan.cells)
    by_attack = rows.groupby("attack").status.agg(set)
    assert by_attack["noop"] == by_attack["both"] == {"missing"}
    assert by_attack["flip"] == {"not_applicable"}
    assert rows.reason.notna().all()
    assert not rows.stale.any()
    assert set(rows[rows.attack == "both"].ensemble) == {True}


def test_a_cell_has_its_record_with_figures_and_gaps(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    bad = cell(plan, attack="sign", defense="guard", budget_label="L2 2")
    rows = rows_of(plan, [record(ok), record(bad, "timeout")])
    assert rows.status.value_counts().to_dict() == {
        **{"ok": 1, "timeout": 1, "missing": 10, "not_applicable": 4}
    }
    one = rows.loc[ok.id]
    assert (one.accuracy, one.accuracy_lo, one.accuracy_hi) == (0.25, 0.1, 0.4)
    assert (one.accuracy_k, one.accuracy_n) == (10, 40)
    assert "auc" not in rows or pd.isna(one.auc)
    assert one.record.key == ok.key
    other = rows.loc[bad.id]
    assert (other.stage, other.reason) == ("attack", "why")
    assert pd.isna(other.accuracy)
    assert rows.eps.isna().sum() == 0


def test_nothing_missing_becomes_a_zero(plan):
    rows = rows_of(plan, [record(cell(plan, attack="noop", defense="none", budget_label="L2 2"))])
    assert rows.accuracy.notna().sum() == 1
    assert not (rows.drop(columns="record").select_dtypes("number").accuracy == 0).any()


def test_a_record_of_another_key_is_stale_and_still_shown(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    rows = rows_of(plan, [record(ok, key="old key")])
    assert rows.loc[ok.id].stale
    assert rows.loc[ok.id].status == "ok"
    assert rows.loc[ok.id].accuracy == 0.25


def test_a_record_of_another_method_is_stale(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    assert rows_of(plan, [record(ok, method=METHOD + 1)]).loc[ok.id].stale


def test_a_fresh_record_beats_a_later_stale_one(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    rows = rows_of(plan, [record(ok, hour=1), record(ok, hour=5, key="old key")])
    assert not rows.loc[ok.id].stale
    assert rows.loc[ok.id].record.key == ok.key


def test_a_fresh_failure_is_not_hidden_behind_an_old_result(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    rows = rows_of(plan, [record(ok, key="old key"), record(ok, "timeout", hour=1)])
    assert rows.loc[ok.id].status == "timeout"
    assert not rows.loc[ok.id].stale


def test_of_two_stale_records_the_later_one_is_shown(plan):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    found = [record(ok, key="old", hour=1), record(ok, key="older", hour=0)]
    assert rows_of(plan, found).loc[ok.id].record.key == "old"


def test_a_record_of_a_cell_that_is_no_longer_planned_is_left_out(plan, checkout):
    gone = record(cell(plan, attack="sign", defense="none", budget_label="L2 2"), id="b/m/gone")
    assert "b/m/gone" not in rows_of(plan, [gone]).index


def test_controls_are_told_by_their_module_and_not_by_their_label(checkout):
    plan = checkout.plan(matrix(attacks=[{"name": "noop", "as": "identity"}, "sign"]))
    rows = frame.build([plan], []).set_index("attack")
    assert rows.attack_control.to_dict() == {"identity": True, "sign": False}
    assert rows.defense_control.all()


def test_several_plans_are_one_frame(checkout):
    plans = [checkout.plan(matrix()), checkout.plan(matrix(**POISONING))]
    rows = frame.build(plans, [])
    assert list(rows.threat_model) == ["evasion", "poisoning"]
    assert list(rows.access) == ["victim", "none"]
    assert rows.eps.isna().tolist() == [False, True]


def test_records_are_loaded_without_a_plan(plan, tmp_path):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    for hour in (1, 2):
        records.write(tmp_path / "records", record(ok, hour=hour))
    rows = frame.load(tmp_path / "records")
    assert len(rows) == 1
    assert rows.loc[0].status == "ok"
    assert rows.loc[0].accuracy == 0.25
    assert rows.loc[0].record.run.finished.startswith("2026-01-01T02")


def test_loading_nothing_or_something_broken_is_one_line(plan, tmp_path):
    with raises_error("records-of-no-folder", where="<tmp>/nowhere"):
        frame.load(tmp_path / "nowhere")
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    path = records.write(tmp_path / "records", record(ok))
    path.write_text("{")
    with raises_error("all-records-unreadable", where="<tmp>/records", path=path):
        frame.load(tmp_path / "records")


@pytest.mark.parametrize(("stage", "claim"), [(None, False), ("attack", True)])
def test_what_the_plan_rules_out_needs_nobody_s_word(plan, stage, claim):
    ruled_out = cell(plan, attack="flip", defense="none", budget_label="L2 2")
    made = record(ruled_out, "not_applicable", stage=stage)
    (line,) = (one for one in cell_rows(frame.build([plan], [made])) if one.cell_id == ruled_out.id)
    assert line.record is not None
    assert line.self_reported is claim


CONTAINED = {"executor": "docker", "device": "cpu", "python": "3", "torch": "2", "lock": "l",
             "threads": 1}  # fmt: skip


def both(checkout):
    """The plans of one benchmark for containers and without."""
    checkout.benchmark(matrix(attacks=["noop", "sign"]))
    workspace = checkout.workspace()
    benchmark = workspace.benchmark("b")
    return [workspace.plan(benchmark, executor=name) for name in ("docker", "local")]


def test_a_contained_record_goes_before_a_local_one_and_each_is_fresh(checkout):
    contained, local = both(checkout)
    inside, outside = (cell(plan, attack="sign") for plan in (contained, local))
    assert inside.key != outside.key
    made = [record(outside, hour=5), record(inside, hour=1, environment=CONTAINED)]
    rows = frame.build([contained, local], made).set_index("attack")
    assert len(rows) == 2
    assert rows.loc["sign", "contained"]
    assert not rows.loc["sign", "stale"]
    assert rows.loc["noop", "status"] == "missing"
    rows = frame.build([contained, local], made[:1]).set_index("attack")
    assert not rows.loc["sign", "contained"]
    assert not rows.loc["sign", "stale"]


def test_a_cell_that_was_made_in_containers_and_outside_knows_both(checkout):
    contained, local = both(checkout)
    inside, outside = (cell(plan, attack="sign") for plan in (contained, local))
    made = [record(outside, hour=5), record(inside, hour=1, environment=CONTAINED)]
    rows = frame.build(iter([contained, local]), made).set_index("attack")
    found = rows.loc["sign", "replications"]
    assert str(found) == "made twice, in containers and outside: equal"
    assert (found.record, found.others, found.current) == (made[1], (made[0],), (made[0],))
    assert rows.loc["noop", "replications"] is None


# -- loading --------------------------------------------------------------------------------------


@pytest.fixture
def recorded(checkout):
    """A checkout with a local record of one cell and a published one of another."""
    contained, local = both(checkout)
    workspace = checkout.workspace()
    (checkout.home / "store").mkdir(parents=True)
    (checkout.home / "timings.json").write_text("{}")
    records.write(workspace.local_records, record(cell(local, attack="noop")))
    inside = record(cell(contained, attack="sign"), environment=CONTAINED)
    records.write(workspace.published_records, inside)
    return workspace


def loaded(path):
    """Attacks with a record, and the sources relative to the checkout, or what the error says."""
    rows = frame.load(path)
    return sorted(rows.attack[rows.record.notna()]), rows.attrs["source"]


def test_a_checkout_a_folder_of_records_a_benchmark_and_a_file_are_loaded(recorded, monkeypatch):
    local, published = recorded.local_records, recorded.published_records
    everything = ["noop", "sign"], [str(local), str(published)]
    assert loaded(recorded.root) == everything
    monkeypatch.chdir(recorded.root)
    assert loaded(".") == everything
    assert loaded(local) == loaded(recorded.home) == (["noop"], [str(local)])
    assert loaded("reports/records") == loaded("reports") == (["sign"], [str(published)])
    assert loaded(published / "b") == (["sign"], [str(published / "b")])
    (file,) = record_tree.walk(local)
    assert loaded(file) == (["noop"], [str(file)])


def test_a_checkout_is_the_report_s_table(recorded):
    """Of a cell with several records, today's counts; a missing cell and a stale one are said."""
    workspace = recorded
    local = workspace.plan(workspace.benchmark("b"))
    sign = cell(local, attack="sign")
    records.write(workspace.local_records, record(sign, hour=9))  # later, not contained
    (noop,) = (
        path for path in record_tree.walk(workspace.local_records) if "noop" in path.read_text()
    )
    noop.unlink()
    rows = frame.load(workspace.root).set_index("attack")
    assert rows.loc["sign", "contained"]
    assert not rows.stale.any()
    assert rows.loc["noop", "status"] == "missing"
    records.write(workspace.local_records, record(cell(local, attack="noop"), key="old"))
    rows = frame.load(workspace.root).set_index("attack")
    assert rows.stale.to_dict() == {"noop": True, "sign": False}


def test_of_several_records_in_a_folder_the_latest_result_of_a_cell_is_loaded(plan, tmp_path):
    ok = cell(plan, attack="sign", defense="none", budget_label="L2 2")
    # the first key comes again at the end: it must not hide the second
    for made in (
        record(ok, hour=1),
        record(ok, hour=5, key="new"),
        record(ok, "timeout", hour=3),
        record(ok, "timeout", hour=7, key="newer"),
    ):
        records.write(tmp_path / "records", made)
    (row,) = frame.load(tmp_path / "records").itertuples()
    assert row.key == "new"


def test_a_broken_record_among_good_ones_is_named_and_left_out(recorded):
    path = records.write(recorded.local_records, record(cell(recorded.plan(
        recorded.benchmark("b")), attack="sign"), "timeout"))  # fmt: skip
    path.write_text(path.read_text().replace('"why"', '"because"'))
    for place in (recorded.root, recorded.local_records):
        with pytest.warns(UserWarning, match=rf"ignored: .*{path.name}: .* its digest"):
            rows = frame.load(place)
        assert "noop" in list(rows.attack[rows.record.notna()])
        assert [path.name in one for one in rows.attrs["ignored"]] == [True]
    with raises_error("loaded-record-changed", where=path):
        frame.load(path)


def test_an_error_says_what_was_looked_for_and_where(recorded, tmp_path):
    local, published = recorded.local_records, recorded.published_records
    timings = recorded.home / "timings.json"
    kept = [path.read_text() for path in record_tree.walk(local)]
    for path in (*record_tree.walk(local), *record_tree.walk(published)):
        path.unlink()
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, code in (
        (recorded.root, "checkout-without-records"),
        (recorded.home, "home-without-records"),
        (empty, "folder-without-records"),
        (tmp_path / "nowhere", "records-nowhere"),
        (timings, "file-of-no-record"),
    ):
        with raises_error(code, where=place):
            frame.load(place)
    for name in ("a", "b"):
        (local / "b" / f"{name}.json").write_text(kept[0])
    with raises_error("all-records-changed", where="<tmp>"):
        frame.load(recorded.root)


def test_a_withdrawn_record_is_not_loaded_from_anywhere(recorded):
    (path,) = record_tree.walk(recorded.published_records)
    record_tree.retract(recorded.published_records, path.stem, "shifted labels")
    with raises_error("loaded-record-withdrawn", where=path):
        frame.load(path)
    for place in (path.parent, recorded.published_records):
        with raises_error("folder-of-withdrawn-records", where=place):
            frame.load(place)
    rows = frame.load(recorded.root).set_index("attack")
    assert "shifted labels" in rows.loc["sign", "reason"]


def test_a_record_of_a_later_gauntlet_says_to_upgrade(recorded):
    (path,) = record_tree.walk(recorded.published_records)
    path.write_text(path.read_text().replace("record/1", "record/2"))
    with raises_error("loaded-record-newer", where=path):
        frame.load(path)
