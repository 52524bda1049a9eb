"""Proven bounds beside attacks: which hold, what the gap is, and what contradicts a proof."""

import csv
import io
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from harness.config.manifest_weights import Bound, Weights
from harness.report import frame
from harness.report.leaderboard import tables
from harness.report.proven import ProvenBound, beside, bound_of, contradiction, unused_because
from harness.report.released import ReleasedWeights
from harness.report.site import build
from harness.report.site.exports import ranking_csv
from tests.support import synthetic
from tests.support.synthetic import Suite

IMAGES, OTHERS = "1" * 64, "2" * 64
BALL = {"norm": "linf", "eps": 8 / 255}
N = 500


def stated(at_least=100, at_most=None, of=N, images=IMAGES, norm="linf", eps=8 / 255):
    return Bound(
        title="500 test images", images=images, of=of, norm=norm, eps=eps,
        at_least=at_least, at_most=at_most, source="verifier",
    )  # fmt: skip


def bound(*given, **more):
    return ProvenBound.of_manifest(stated(*given, **more))


def frame_with(bounds, examples=IMAGES):
    """A frame whose row ``guard`` is a released network that these bounds are of."""
    suite = Suite(
        defenses={"none": 0.2, "guard": 0.4}, seeds=(0,), budgets=(("L∞ 8/255", 8 / 255),)
    )
    found = synthetic.frame(suite)
    weights = ReleasedWeights("v/w", "MIT", proven=tuple(bounds))
    found["record"] = [synthetic.altered(one, examples=examples) for one in found.record]
    found["weights"] = [weights if name == "guard" else None for name in found.defense]
    return found


def row_of(bounds, **more):
    table = tables(frame_with(bounds, **more))[0]
    return next(row for row in (*table.rows, *table.unranked) if row.defense == "guard")


def left_of_guard():
    return round(row_of([bound()]).score.value * N)


def test_a_row_says_what_is_proven_what_is_left_and_the_gap() -> None:
    left = left_of_guard()
    row = row_of([bound(left - 7, left + 3)])
    assert row.rank is not None
    assert (row.proven.left, row.proven.gap) == (left, 7)
    said = (
        f"{left - 7} proven ≤ {left} left of 500, gap 7; "
        f"no more than {left + 3} can be right (verifier)"
    )
    assert row.proven.text == said
    assert [one.text for one in row.caveats if one.name == "proven"] == [said]


@pytest.mark.parametrize("proven", [0, 1])
def test_a_worst_case_below_the_floor_is_not_ranked(proven) -> None:
    row = row_of([bound(left_of_guard() + proven)])
    assert row.proven.contradicted == bool(proven)
    assert (row.rank is None) == bool(proven)
    assert ("contradicts a proof" in {one.name for one in row.caveats}) == bool(proven)
    assert row.proven.gap == (None if proven else 0)


@pytest.mark.parametrize(
    ("one", "limits", "examples", "why"),
    [
        (bound(), BALL, IMAGES, ""),
        (bound(), BALL, OTHERS, "other images: 500 test images"),
        (bound(), BALL, None, "images that the record does not name"),
        (bound(eps=2 / 255), BALL, IMAGES, "another radius: L∞ 0.007843"),
        (bound(norm="l2", eps=0.5), BALL, IMAGES, "another radius: L2 0.5"),
        (bound(), {"edits": 0.1}, IMAGES, "another radius: L∞ 0.03137"),
        (bound(), BALL | {"per_channel": [1, 2, 3]}, IMAGES, "another radius: one for all"),
    ],
)
def test_a_bound_holds_for_its_images_and_radius_alone(one, limits, examples, why) -> None:
    found = unused_because(one, limits, examples)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_bound_that_says_nothing_here_is_named_with_its_reason() -> None:
    row = row_of([bound(images=OTHERS), bound(left_of_guard(), eps=2 / 255)])
    assert row.proven.bound is None
    assert row.proven.unused == ("other images: 500 test images", "another radius: L∞ 0.007843")
    assert row.rank is not None


def test_of_several_bounds_the_one_that_proves_most_counts() -> None:
    record = SimpleNamespace(examples=IMAGES)
    found = bound_of([bound(3), bound(9), bound(None, 20)], BALL, record)
    assert found.at_least == 9
    assert beside([], BALL, record, 0.5).bound is None


def record_with(k):
    metric = SimpleNamespace(k=k, n=N)
    return SimpleNamespace(examples=IMAGES, metrics={"robust_accuracy": metric})


@pytest.mark.parametrize(("k", "wrong"), [(99, True), (100, False), (None, False)])
def test_a_figure_below_the_floor_contradicts_it(k, wrong) -> None:
    both = contradiction([bound(100)], BALL, record_with(k))
    assert bool(both) == wrong
    if wrong:
        assert "found 99 right" in both
        assert "100 of 500 are proven" in both
        assert "verifier" in both


@pytest.mark.parametrize(("module", "status"), [("none", "contradicts_proof"), ("jpeg", "ok")])
def test_the_cell_shows_it_and_only_for_the_network_alone(module, status) -> None:
    found = synthetic.frame(Suite(defenses={"none": 0.2}, seeds=(0,)))
    record = synthetic.altered(found.record[0], examples=IMAGES)
    recorded = record.cell.model_dump() | {"weights": "v/w", "defense_module": module}
    record = synthetic.altered(record, cell=recorded)
    right = record.metrics["robust_accuracy"].k
    weights = Weights(
        file="w.pt", sha256="0" * 64, license="MIT", source="https://a.org",
        proven=[stated(right + 1, eps=record.cell.budget["eps"])],
    )  # fmt: skip
    plan = SimpleNamespace(released={"v/w": weights}, approximate=(), thin={}, shared={})
    row = frame.row(frame.recorded_cell(record), record, plan, stale=False)
    assert row["status"] == status
    assert row["reason"] is None or "are proven to stay right" in row["reason"]


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"at_least": None}, "neither at_least nor at_most"),
        ({"at_least": 9, "at_most": 8}, "not in order"),
        ({"at_least": N + 1}, "not in order"),
    ],
)
def test_bounds_out_of_order_are_refused(given, what) -> None:
    with pytest.raises(ValidationError, match=what):
        stated(**given)


def test_page_and_csv_show_the_bound(tmp_path) -> None:
    left = left_of_guard()
    found = frame_with([bound(left - 2), bound(images=OTHERS)])
    site = build(found, tmp_path / "site").parent
    page = (site / "invented/linf/index.html").read_text().replace("<wbr>", "")
    assert f"{left - 2} proven ≤ {left} left of 500, gap 2 (verifier)" in page
    assert "bound not used: other images: 500 test images" in page
    rows = csv.DictReader(io.StringIO(ranking_csv(tables(found))))
    guard = next(row for row in rows if row["defense"] == "guard")
    assert (guard["proven_at_least"], guard["proven_gap"]) == (str(left - 2), "2.0")
    assert guard["proven_unused"] == "other images: 500 test images"
