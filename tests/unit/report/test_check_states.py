"""Whether modules pass ``gauntlet check`` stands in records, on rows, on pages and in exports."""

import csv
import io

import pytest

from harness.common.keys import conformance_digest
from harness.report import frame
from harness.report.cells import cell_rows
from harness.report.leaderboard import tables
from harness.report.site import exports, render
from harness.results import records
from harness.results.checks import Checks, ModuleCheck
from tests.support.workspaces import Checkout, matrix
from tests.unit.report.test_frame import record

FAILS = "answers are float32 evasion/classification"


@pytest.fixture
def plan(tmp_path):
    return Checkout(tmp_path).plan(matrix(attacks=["noop", "sign"], defenses=["none", "guard"]))


def made(plan, **states):
    """A record of each cell; name → state of the module of this name."""
    found = []
    for one in plan.cells.values():
        found.append(record(one))
        checks = {
            module: {"state": states[name], "failures": [FAILS] * (states[name] == "failed")}
            for module in one.modules
            if (name := module.partition("/")[2]) in states
        }
        fields = found[-1].to_json()
        run = fields["run"] | {"checks": checks}
        found[-1] = records.finish({**fields, "run": run})
    return found


def flags(plan, found, checks=None):
    (table,) = tables(frame.build([plan], found, checks=checks))
    rows = (*table.rows, *table.unranked)
    return {row.defense: [(flag.name, flag.text) for flag in row.flags] for row in rows}


def test_what_a_check_says_changes_no_result(plan):
    plain = [record(one) for one in plan.cells.values()]
    told = made(plan, sign="failed")
    assert [one.result for one in plain] == [one.result for one in told]
    assert all(one.check("attacks/sign").state == "unchecked" for one in plain)
    assert all(one.check("attacks/sign").state == "failed" for one in told if "sign" in one.id)


def test_a_failed_check_is_a_flag_of_every_row_that_the_module_plays_in(plan):
    text = f"module attacks/sign fails the conformance tests: {FAILS}"
    assert flags(plan, made(plan, sign="failed")) == {
        "none": [("check_failed", text)], "guard": [("check_failed", text)],
    }  # fmt: skip
    text = f"module defenses/guard fails the conformance tests: {FAILS}"
    assert flags(plan, made(plan, guard="failed", none="passed"))["none"] == []
    assert flags(plan, made(plan, guard="failed"))["guard"][0] == ("check_failed", text)
    assert flags(plan, made(plan, guard="passed")) == {"none": [], "guard": []}
    assert flags(plan, [record(one) for one in plan.cells.values()]) == {"none": [], "guard": []}


def test_a_check_after_the_run_counts_for_the_same_module_only(plan, tmp_path):
    checks = Checks(tmp_path / "checks")
    (digest,) = {one.modules["defenses/guard"] for one in plan.cells.values()
                 if "defenses/guard" in one.modules}  # fmt: skip
    fields = {
        "module": "defenses/guard", "harness": conformance_digest(), "executor": "docker",
        "checks": 5, "untried": [], "finished": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    told = made(plan, guard="passed")
    checks.write(ModuleCheck(**fields, digest="0" * 64, failures=[FAILS]))
    assert flags(plan, told, checks)["guard"] == []
    checks.write(ModuleCheck(**fields, digest=digest, failures=[FAILS, "rebuild"]))
    (flag,) = dict.fromkeys(flags(plan, told, checks)["guard"])
    assert flag == (
        "check_failed",
        f"module defenses/guard fails the conformance tests: {FAILS} and 1 more",
    )
    checks.write(ModuleCheck(**fields, digest=digest, failures=[]))
    assert flags(plan, made(plan, guard="failed"), checks)["guard"] == []


def test_pages_and_exports_say_it(plan, tmp_path):
    rows = frame.build([plan], made(plan, guard="failed", none="passed", noop="passed"))
    render.build(rows, tmp_path / "site")
    page = (tmp_path / "site/b/m/index.html").read_text()
    assert "⚑ check failed" in page
    assert "2 of 5 modules have passed the conformance tests" in page
    assert "Failed: defenses/guard." in page
    assert page.count("Not checked: attacks/sign, victims/tiny.") == 1
    assert page.count("Not checked") == 1
    cell = (tmp_path / "site/b/m/tiny/guard/sign.html").read_text()
    assert f"Module defenses/guard fails the conformance tests: {FAILS}" in cell
    assert "not checked" in cell
    told = list(csv.DictReader(io.StringIO(exports.cells_csv(cell_rows(rows)))))
    states = {
        (one["defense"], one["attack"]): (one["check"], one["check_failures"]) for one in told
    }
    assert states["guard", "noop"] == ("failed", f"defenses/guard: {FAILS}")
    assert states["none", "noop"] == ("unchecked", "")
    passed = made(plan, guard="passed", none="passed", noop="passed", sign="passed", tiny="passed")
    assert {one.check_state for one in cell_rows(frame.build([plan], passed))} == {"passed"}
