"""What is published: each cell's record that counts, contained ones only, nothing twice."""

import io
import re

import pytest
from rich.console import Console

from harness.commands import report
from harness.commands.publish import publish, retract
from harness.commands.show import find_record
from harness.results import record_tree, records
from tests.support.errors import raises_error
from tests.support.workspaces import Checkout, cell
from tests.unit.report.test_frame import CONTAINED, both, record


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def cells(checkout):
    """The cell of an attack, as it is planned for containers and without."""
    contained, local = both(checkout)
    return lambda attack: (cell(contained, attack=attack), cell(local, attack=attack))


def published(checkout, **options):
    said = io.StringIO()
    settings = {"include_local": False, "dry_run": False} | options
    publish(checkout.workspace(), ["b"], console=Console(file=said, width=200), **settings)
    found, errors = record_tree.load_all(checkout.workspace().published_records)
    assert not errors
    return sorted((r.cell.attack, r.environment.executor) for r in found), said


def test_contained_records_go_and_local_ones_stay_unless_told_otherwise(checkout, cells):
    root = checkout.workspace().local_records
    inside, _ = cells("sign")
    _, outside = cells("noop")
    records.write(root, record(inside, environment=CONTAINED))
    records.write(root, record(outside))
    found, said = published(checkout, dry_run=True)
    assert (found, "1 record would be published" in said.getvalue()) == ([], True)
    found, said = published(checkout)
    assert found == [("sign", "docker")]
    assert "1 left out: made without isolation" in said.getvalue()
    assert "git add reports/records" in said.getvalue()
    found, said = published(checkout, include_local=True)
    assert found == [("noop", "local"), ("sign", "docker")]
    assert "1 record published, 1 published before" in said.getvalue()


def test_stale_transient_and_older_records_stay(checkout, cells):
    root = checkout.workspace().local_records
    inside, other = cells("sign")
    failed, _ = cells("noop")
    records.write(root, record(inside, "timeout", hour=3, environment=CONTAINED))
    records.write(root, record(inside, hour=2, environment=CONTAINED))
    records.write(root, record(failed, "infra_error", environment=CONTAINED))
    records.write(root, record(other, environment=CONTAINED))  # a key that is not planned so
    found, said = published(checkout)
    assert found == [("sign", "docker")]
    for reason in ("stale", "infra_error", "another record of its cell counts"):
        assert f"1 left out: {reason}" in said.getvalue()


def test_a_failure_is_published_as_what_it_is(checkout, cells):
    inside, _ = cells("sign")
    records.write(
        checkout.workspace().local_records, record(inside, "timeout", environment=CONTAINED)
    )
    assert published(checkout)[0] == [("sign", "docker")]


def test_an_equal_result_is_not_published_twice_and_nothing_is_changed(checkout, cells):
    inside, _ = cells("sign")
    workspace = checkout.workspace()
    first = record(inside, environment=CONTAINED)
    records.write(workspace.local_records, first)
    published(checkout)
    (path,) = record_tree.walk(workspace.published_records)
    before = path.read_bytes()
    run = first.run.model_copy(update={"finished": "2026-02-01T00:00:00+00:00"})
    later = first.model_copy(update={"run": run})
    records.write(workspace.local_records, later)
    published(checkout)
    assert [path.read_bytes() for path in record_tree.walk(workspace.published_records)] == [before]


def test_a_failure_does_not_follow_a_published_result(checkout, cells):
    inside, _ = cells("sign")
    root = checkout.workspace().local_records
    fine = records.write(root, record(inside, environment=CONTAINED))
    published(checkout)
    fine.unlink()
    records.write(root, record(inside, "timeout", hour=5, environment=CONTAINED))
    found, said = published(checkout)
    assert found == [("sign", "docker")]
    assert "0 records published, 1 published before" in said.getvalue()


def test_files_that_were_not_committed_are_said(checkout, cells):
    inside, _ = cells("sign")
    made = record(inside, environment=CONTAINED)
    dirty = made.model_copy(update={"run": made.run.model_copy(update={"dirty": True})})
    records.write(checkout.workspace().local_records, dirty)
    found, said = published(checkout)
    assert found == [("sign", "docker")]
    assert "1 made from files that were not committed" in said.getvalue()


def test_show_and_reproduce_take_the_record_that_the_report_shows(checkout, cells):
    inside, outside = cells("sign")
    workspace = checkout.workspace()
    root = workspace.local_records
    records.write(root, record(inside, hour=1, environment=CONTAINED))
    records.write(root, record(outside, hour=5))
    assert find_record(workspace, inside.id).record.key == inside.key
    records.write(root, record(inside, hour=9, key="old", environment=CONTAINED))
    assert find_record(workspace, "sign").record.key == inside.key
    (checkout.root / "benchmarks/b/benchmark.yaml").unlink()
    assert find_record(workspace, "sign").record.key == "old"


def withdraw(checkout, name, why="the labels of digits were shifted"):
    retract(checkout.workspace(), name, why, Console(file=io.StringIO(), width=200))


def test_a_retraction_is_added_and_its_number_is_gone_with_the_reason_in_its_place(checkout, cells):
    inside, _ = cells("sign")
    workspace = checkout.workspace()
    first = record(inside, environment=CONTAINED)
    records.write(workspace.local_records, first)
    # the same result of another run is withdrawn with it
    run = first.run.model_copy(update={"finished": "2026-02-01T00:00:00+00:00"})
    again = first.model_copy(update={"run": run})
    published(checkout)
    records.write(workspace.local_records, again)
    (path,) = record_tree.walk(workspace.published_records)
    before = path.read_bytes()
    withdraw(checkout, path.stem[:8])
    assert path.read_bytes() == before
    found, errors = record_tree.load_all(workspace.published_records, workspace.local_records)
    assert (found, errors) == ([], [])
    with raises_error("found-record-withdrawn", where="b/m/tiny/none/sign/linf-0.1/s0"):
        find_record(workspace, inside.id)
    with raises_error("only-withdrawn-to-publish", where="publish"):
        published(checkout)
    with raises_error("withdrawn-already", where=path.stem, record=path.stem):
        withdraw(checkout, path.stem)
    said = Console(file=io.StringIO(), width=200)
    page = report.report(workspace, open_=False, console=said)
    shown = (page.parent / "b/m/tiny/none/sign.html").read_text()
    assert re.search(r"Withdrawn on \d{4}-\d\d-\d\d: the labels of digits were shifted", shown)
    assert '<span class="figure hatch">missing</span>' in shown


def test_a_retraction_needs_a_reason_and_a_record(checkout, cells):
    inside, _ = cells("sign")
    records.write(checkout.workspace().local_records, record(inside, environment=CONTAINED))
    published(checkout)
    with raises_error("retraction-without-reason", where="publish --retract"):
        withdraw(checkout, "", " ")
    with raises_error("retraction-of-no-record", where="zz"):
        withdraw(checkout, "zz", "x")


def test_a_broken_retraction_is_an_error_and_withdraws_still(checkout, cells):
    inside, _ = cells("sign")
    root = checkout.workspace().published_records
    first = records.write(root, record(inside, environment=CONTAINED))
    withdraw(checkout, first.name)
    (path,) = root.glob("*/retractions/*.json")
    whole = path.read_text()
    for text in ("{", "[]", whole.replace("retraction/1", "2"), whole.replace(first.stem, "x")):
        path.write_text(text)
        found, errors = record_tree.load_all(root)
        assert found == []
        assert ["not a valid retraction" in error.what for error in errors] == [True]


def test_nothing_to_publish_is_one_line(checkout, cells):
    _, outside = cells("noop")
    records.write(checkout.workspace().local_records, record(outside))
    with raises_error("nothing-to-publish", where="publish"):
        published(checkout)


def test_a_broken_record_stops_it(checkout, cells):
    inside, _ = cells("sign")
    path = records.write(checkout.workspace().local_records, record(inside, environment=CONTAINED))
    path.write_text(path.read_text().replace("0.25", "0.35"))
    with raises_error("published-record-changed", where=path):
        published(checkout)
