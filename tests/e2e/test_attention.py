"""Attention from a run to the page: a backdoor on digits, two networks and one without maps."""

import json

import pytest
from rich.console import Console

from harness.commands.report import report
from tests.support.site_pages import Page, text_of
from tests.support.whole_run import find
from tests.support.workspaces import BACKDOOR, Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

LOOKER = """
from torch import nn

from harness.runtime.recipe import Recipe


class Looker(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(16 * 16, outputs)

    def forward(self, x):
        return self.head(self.stage(x).flatten(1))


class Victim:
    head, stages = "head", ("stage",)

    def build(self, spec):
        return Looker(spec.outputs)

    def recipe(self, train):
        return Recipe(steps=60, batch=100, lr=0.01, optimizer="adam")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp("attention"))
    fields = {"hooks": ["build", "recipe"], "offers": ["loss", "maps", "weights"]}
    checkout.module("victim", "looker", LOOKER, **fields)
    checkout.benchmark(
        matrix(
            **BACKDOOR,
            victims=["looker", "tiny"],
            defenses=["none", "guard"],
            keep={"examples": 12, "attention": ["activation", "grad-cam"]},
        )
    )
    checkout.run()
    return checkout


@pytest.fixture(scope="module")
def site(checkout):
    return report(checkout.workspace(), open_=False, console=Console(quiet=True)).parent


def test_records_hold_the_figures_of_the_whole_subset(checkout):
    record = find(checkout, victim="looker", defense="guard")
    assert record.status == "ok"
    assert {*record.attention} == {"activation", "grad-cam"}
    for figures in record.attention.values():
        mass = figures["trigger_mass_attacked"]
        assert 0 <= mass.lo <= mass.value <= mass.hi <= 1
        assert figures["object_mass_clean"].absent
    assert record.attention["activation"]["at_trigger"].n == 40
    # a map of Grad-CAM is 0 everywhere where no channel speaks for the class: then it says so
    flat = 40 - record.attention["grad-cam"]["trigger_mass_attacked"].n
    said = f"{flat} of 40 grad-cam maps of attacked inputs, equal everywhere"
    assert (said in record.notes[0]) == (flat > 0)
    # the patch of 2 x 2 pixels in the corner, found by comparing
    assert record.attention["activation"]["trigger_area"].value == 4 / 64
    assert record.notes[0].startswith("attention leaves out: the data set has no boxes of objects")


def test_a_network_that_looks_nowhere_has_its_result_without_maps(checkout):
    record = find(checkout, victim="tiny", defense="none")
    assert record.status == "ok", record.reason
    assert record.attention is None
    assert any("no attention maps" in note and "is no map" in note for note in record.notes)


def test_the_page_shows_pictures_of_both_networks_and_their_figures(checkout, site):
    page = site / "b" / "m" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "where each network looks" in text_of(text)
    assert "Grad-CAM of the predicted class" in text_of(text)
    pictures = [link for link in Page(page).links if "pictures/" in link and "_" in link]
    assert pictures
    for link in pictures:
        assert (page.parent / link).resolve().is_file()
    albums = [json.loads(file.read_text()) for file in site.glob("pictures/*/album.json")]
    assert len(albums) == 2  # the modes
    for album in albums:
        assert [score["defense"] for score in album["shown"][0]["scores"]] == ["none", "guard"]
        assert album["candidates"] == 12
    assert not Page(page).refused


def test_pictures_stay_where_the_artefacts_are_gone(checkout, site):
    before = {path.name for path in site.glob("pictures/*/*.png")}
    store = checkout.home / "store"
    store.rename(checkout.home / "elsewhere")
    try:
        again = report(checkout.workspace(), open_=False, console=Console(quiet=True)).parent
    finally:
        (checkout.home / "elsewhere").rename(store)
    assert {path.name for path in again.glob("pictures/*/*.png")} == before != set()
