"""The page of a budget that asks for the nearest wrong input: medians and curves, no ranks."""

import csv
import re

import numpy as np
import pytest

from harness.report.site import exports, render, views
from harness.report.site.views import SiteMeta
from tests.support.attack_outcomes import N, frame

NEAR = np.where(np.arange(N) % 50 == 49, np.inf, np.linspace(0.1, 1, N))
DISTANCES = {"near": NEAR, "far": 2 * NEAR}
BROKEN = {name: np.flatnonzero(np.isfinite(one)) for name, one in DISTANCES.items()}


@pytest.fixture(scope="module")
def found():
    return frame(BROKEN, {"near": 10, "far": 40}, distances=DISTANCES)


@pytest.fixture(scope="module")
def text(found, tmp_path_factory):
    page = render.build(found, tmp_path_factory.mktemp("site") / "site")
    return (page.parent / "invented" / "linf" / "index.html").read_text("utf-8")


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_medians_stand_in_the_place_of_ranks(text):
    assert "Distance to the nearest wrong input" in text
    assert "Every attack on every defence" not in text
    assert f"{np.median(NEAR):.3g}" in plain(text)
    assert "distances are not ranked" in text
    assert "With guard , half of the inputs are wrong within a distance of 0.55" in plain(text)


def test_curves_fall_to_what_was_never_made_wrong(found):
    (page,) = views.pages(found, SiteMeta())
    (curves,) = page.distances
    assert [one.name for one in curves.panels] == ["none", "guard"]
    together = curves.panels[0].curves[0]
    assert together.name == "all attacks"
    assert "all attacks 100.0 at 0," in curves.panels[0].description
    assert curves.panels[0].description.split(";")[0].endswith(" 2.0 at 1")


def test_the_attacks_have_places_and_costs(text):
    part = plain(text[text.index("-attacks") :])
    assert "at its cost, %" in part
    assert re.search(r"1 near .*100\.0 100\.0 .* 10 ", part)


def test_exports_have_distances_and_places(found):
    (page,) = views.pages(found, SiteMeta())
    tables = [board.table for board in page.boards]
    ranking = list(csv.DictReader(exports.ranking_csv(tables).splitlines()))
    assert {row["status"] for row in ranking} == {"not ranked"}
    assert {round(float(row["median_distance"]), 3) for row in ranking} == {0.559}
    attacks = {
        row["attack"]: row for row in csv.DictReader(exports.attacks_csv(tables).splitlines())
    }
    assert (attacks["near"]["rank"], attacks["far"]["rank"]) == ("1", "2")
    assert float(attacks["near"]["passes"]) == 10
