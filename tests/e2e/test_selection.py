"""Which record counts, from the edit of a module to what people are shown."""

import csv
import re
import shutil

import pytest

from harness.report import frame
from tests.support.module_sources import PERTURB, SIGN
from tests.support.workspaces import Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

EDITED = PERTURB.format("return (x + budget.eps).clamp(0, 1)")
CELL = "b/m/tiny/none/sign/linf-0.1/s0"


@pytest.fixture(scope="module")
def there_and_back(tmp_path_factory):
    """An attack that was edited, run, put back and run again, which ran nothing."""
    checkout = Checkout(tmp_path_factory.mktemp("back"))
    checkout.benchmark(matrix(attacks=["noop", "sign"], ensembles={"both": ["noop", "sign"]}))
    checkout.run()
    first = checkout.records()[CELL]
    edit(checkout, EDITED)
    checkout.run()
    edited = checkout.records()[CELL]
    assert edited.key != first.key
    assert edited.metrics["robust_accuracy"] != first.metrics["robust_accuracy"]
    edit(checkout, SIGN)
    assert checkout.run().tally.stages == 0
    return checkout, first, edited


@pytest.fixture
def checkout(there_and_back, tmp_path):
    """A copy, for a test to change."""
    shutil.copytree(there_and_back[0].root, tmp_path / "copy")
    return Checkout(tmp_path / "copy")


def edit(checkout, code):
    (checkout.root / "attacks/sign/attack.py").write_text(code)


def figure(text):
    """The robust accuracy in what ``show`` says, and whether it says stale."""
    return re.search(r"robust_accuracy +(\S+)", text)[1], "stale" in text


def shown(record):
    return f"{record.metrics['robust_accuracy'].value:.4f}"


def test_after_an_edit_is_taken_back_every_command_takes_today_s_record(there_and_back):
    checkout, first, _ = there_and_back
    said = checkout.gauntlet("show", CELL)
    assert figure(said.stdout) == (shown(first), False), said.stderr
    assert first.result[:16] in said.stdout
    again = checkout.gauntlet("reproduce", CELL)
    assert f"{CELL}: reproduced exactly (result {first.result[:16]})" in again.stdout, again
    assert again.returncode == 0
    rows = frame.load(checkout.root).set_index("cell_id")
    assert rows.loc[CELL].record == first
    assert not rows.stale.any()
    assert checkout.gauntlet("report").returncode == 0
    with (checkout.root / "reports/site/b/m/cells.csv").open(encoding="utf-8") as file:
        page = {row["attack"]: row for row in csv.DictReader(file)}
    assert (page["sign"]["status"], page["sign"]["stale"]) == ("ok", "false")
    assert f"{float(page['sign']['robust_accuracy']):.4f}" == shown(first)
    published = checkout.gauntlet("publish", "b", "--include-local")
    assert "3 records published" in published.stdout
    assert "2 left out: stale" in published.stdout
    (sign,) = (r for r in frame.load(checkout.root / "reports").record if r.id == CELL)
    assert sign == first


def test_a_stale_record_is_shown_with_what_changed_and_not_reproduced(checkout):
    edit(checkout, SIGN + "# once more\n")
    said = checkout.gauntlet("show", CELL).stdout.splitlines()
    assert said[1] == "stale: attacks/sign changed since; this is the latest record"
    again = checkout.gauntlet("reproduce", CELL)
    assert again.returncode == 1
    assert f"{CELL}: stale: attacks/sign changed since; " in again.stderr
    both = checkout.gauntlet("show", "/both/").stdout.splitlines()
    assert both[1].startswith("stale: a member of the ensemble, or the judge changed since; ")


GONE = {
    "attack": (lambda c: c.benchmark(matrix()), "the benchmark no longer plans this cell"),
    "seed": (
        lambda c: c.benchmark(matrix(attacks=["noop", "sign"], seeds=[1])),
        "the benchmark no longer plans this cell",
    ),
    "matrix": (lambda c: c.benchmark(matrix("n")), "the benchmark has no matrix m any more"),
    "benchmark": (lambda c: shutil.rmtree(c.root / "benchmarks/b"), "b: no such benchmark"),
    "module": (lambda c: shutil.rmtree(c.root / "attacks/sign"), "no attack named 'sign'"),
    "manifest": (
        lambda c: (c.root / "attacks/noop/manifest.yaml").write_text("["),
        "attacks/noop/manifest.yaml",
    ),
}


@pytest.mark.parametrize("what", GONE)
def test_a_cell_that_is_no_longer_planned_is_shown_and_says_so(checkout, there_and_back, what):
    change, reason = GONE[what]
    change(checkout)
    done = checkout.gauntlet("show", CELL)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[1]
    assert line.startswith("not planned: ")
    assert reason in line
    assert figure(done.stdout)[0] == shown(there_and_back[2])  # the latest
    again = checkout.gauntlet("reproduce", CELL)
    assert again.returncode == 1
    assert reason in again.stderr
    assert "Traceback" not in again.stderr
