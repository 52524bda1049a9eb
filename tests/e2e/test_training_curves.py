"""Training curves of a run reach the pages: a selecting victim, two fits, a delivering attack."""

import csv
import io

import pytest
from rich.console import Console

from harness.commands.report import report
from harness.results import record_tree
from harness.storage.store import Store
from tests.support.module_sources import VICTIM
from tests.support.site_pages import html_of, text_of
from tests.support.workspaces import SUPPLY_CHAIN, Checkout, matrix

PICKY = VICTIM.replace("import Recipe", "import Recipe, Selection").replace(
    """return Recipe(steps=self.steps, batch=100, lr=0.02, optimizer="adam")""",
    """return Recipe(steps=self.steps, batch=100, lr=0.02, optimizer="adam", log_every=10,
                      selection=Selection("val_accuracy", 10, accuracy))


def accuracy(network, val):
    hits = sum((network(x).argmax(1) == y).sum().item() for x, y in val.batches(100))
    return hits / len(val)""",
)
TWICE = """
class Defense:
    def fit(self, victim, network, train, val, adversary, ctx):
        loss = lambda network, x, y: (network(x) - 1).square().sum(1)
        for _ in range(2):
            victim.fit(network, train, val, loss, ctx, victim.recipe(train))
        for step in range(1000):
            ctx.metric("<img src=x>\\n", float("nan") if step == 500 else step, step)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    made = Checkout(tmp_path_factory.mktemp("curves"))
    made.module(
        "victim", "tiny", PICKY, hooks=["build", "recipe"], offers=["loss", "weights"],
        entry="victim.py:Tiny", params={"steps": {"type": "int", "default": 30, "min": 1}},
    )  # fmt: skip
    made.module("defense", "twice", TWICE, hooks=["fit"])
    made.benchmark(
        matrix(attacks=["noop", "sign"], defenses=["none", "guard", "twice"], seeds=[0, 1]),
        matrix("supply", **SUPPLY_CHAIN),
    )
    made.run()
    assert {record.status for record in made.records().values()} == {"ok"}
    return made


@pytest.fixture(scope="module")
def site(checkout):
    return report(checkout.workspace(), open_=False, console=Console(file=io.StringIO())).parent


def points(site, matrix, **labels):
    """Step and value of a curve in the matrix's CSV file."""
    with (site / "b" / matrix / "curves.csv").open(encoding="utf-8") as file:
        found = [row for row in csv.DictReader(file) if labels.items() <= row.items()]
    return [(int(row["step"]), row["value"]) for row in found]


def test_the_score_of_a_selection_is_a_curve_under_its_name(site):
    found = points(site, "m", row="none", seed="1", name="val_accuracy")
    assert [step for step, _ in found] == [10, 20, 30]
    assert all(0 <= float(value) <= 1 for _, value in found)
    assert points(site, "m", row="guard", seed="1", name="val_accuracy") == found
    page = (site / "b/m/index.html").read_text()
    assert "val_accuracy by training step" in page
    assert "guard has the training of the undefended network" in text_of(page)


def test_each_fit_of_a_stage_is_a_curve_of_its_own(site):
    for fit in ("1", "2"):
        found = points(site, "m", row="twice", seed="0", name="loss", fit=fit)
        assert [step for step, _ in found] == [10, 20, 30]
    page = (site / "b/m/tiny/twice/sign.html").read_text()
    assert "seed 1, fit 2" in page


def test_a_module_s_own_curve_is_thinned_and_its_gap_kept(site):
    found = points(site, "m", row="twice", seed="0", name="<img src=x>")
    assert len(found) == 200
    assert (found[0], found[-1]) == ((0, "0.0"), (999, "999.0"))
    assert [value for _, value in found].count("") == 1
    for path in html_of(site):
        assert "<img src=x" not in path.read_text()


def test_a_delivering_attack_has_curves_beside_the_victim_s(site):
    page = text_of((site / "b/supply/tiny/none/teacher.html").read_text())
    assert "Training of the network that the attack delivers" in page
    assert points(site, "supply", stage="deliver", name="loss") == points(
        site, "supply", stage="deliver", name="loss", attack="teacher"
    )
    assert points(site, "supply", stage="train", name="loss")


def test_records_hold_no_point(checkout):
    for path in record_tree.walk(checkout.home / "records"):
        assert "val_accuracy" not in path.read_text()


def test_after_clean_the_pages_say_that_artefacts_are_gone(checkout, site):
    store = Store(checkout.home / "store")
    for key in list(store.entries()):
        store.drop(key)
    again = report(checkout.workspace(), open_=False, console=Console(file=io.StringIO())).parent
    assert not (again / "b/m/curves.csv").exists()
    assert "No training curves" in (again / "b/m/tiny/none/sign.html").read_text()
    assert "Training curves" not in (again / "b/m/index.html").read_text()
