"""Flipped comparisons: records, figures, tables and files."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from harness.judge.metrics import Comparisons, decisions
from harness.judge.metrics import judge_flips as judged
from harness.report.cells import cell_rows
from harness.report.site import build, flip_plots
from harness.report.site.axes import LARGE
from harness.report.site.flips import decode, flips, jaccard
from harness.results.codec import pack_flips
from tests.support import synthetic
from tests.support.synthetic import Suite

SUITE = Suite(
    matrix="rank",
    task="ranking",
    threat_model="poisoning",
    examples=60,
    seeds=(0, 1),
    defenses={"sanitizer": 0.3, "none": 0.0},
    attacks={"furthest": 1.0, "nearest": 0.5, "random_noise": 0.3, "noop": 0.0},
    budgets=(("15 % label edits", None), ("35 % label edits", None)),
)
SHARES = {"15 % label edits": 0.15, "35 % label edits": 0.35}
N, ITEMS = 400, 30


def comparisons(rng, n):
    first = rng.integers(0, ITEMS, n)
    second = (first + rng.integers(1, ITEMS, n)) % ITEMS
    return np.column_stack([first, second, rng.choice([-1, 1], n), rng.integers(0, 2, n)])


def one(attack, budget, seed):
    """Return the judged flips of an attack, and the rows that it flips."""
    rng = np.random.default_rng(seed)
    clean, broken = rng.standard_normal((2, ITEMS, 2))
    train, test = comparisons(rng, N), comparisons(rng, 60)
    order = np.argsort(np.abs(decisions(clean, train)))
    order = {"furthest": order[::-1], "nearest": order}.get(attack, rng.permutation(N))
    count = 0 if attack == "noop" else round(SHARES[budget] * N)
    edited = train.copy()
    edited[order[:count], 2] *= -1
    return judged(
        Comparisons(train, clean, broken), edited, Comparisons(test, clean, broken)
    ), np.sort(order[:count])


@pytest.fixture
def frame():
    def flipped(record):
        cell = record.cell
        found, _ = one(cell.attack, cell.budget_label, cell.seed)
        parts = {
            f"{name}[attr {k}]": {"value": value}
            for name, values in (("clean_accuracy", (0.9, 0.8)), ("accuracy", (0.52, 0.7)))
            for k, value in enumerate(values)
        }
        metrics = record.metrics | {name: rate.to_json() for name, rate in found.metrics.items()}
        return {"flips": pack_flips(found, ["smiling", "old"]), "parts": parts, "metrics": metrics}

    return synthetic.alter(synthetic.frame(SUITE), flipped)


def test_a_record_holds_which_rows_were_flipped_and_how_far_they_lay(frame):
    for record in frame.record:
        cell = record.cell
        found, rows = one(cell.attack, cell.budget_label, cell.seed)
        flip = decode(record)
        assert flip.rows.tolist() == rows.tolist()
        assert flip.places * flip.edges[-1] == pytest.approx(found.decisions, rel=1e-3, abs=1e-6)
        assert flip.edits.tolist() == found.edits.tolist()
        assert flip.edits.sum() == len(rows)
        assert flip.train.tolist() == found.train.tolist()
        assert flip.n == N


def test_the_undefended_ranker_is_read_and_overlaps_are_jaccard_indices(frame):
    (found,) = flips(cell_rows(frame))
    assert found.defense == "none"
    assert found.seed == 0
    assert len(found.rows) == 8
    small, large = SHARES
    shares = [
        jaccard(one("furthest", small, seed)[1], one("nearest", small, seed)[1]) for seed in (0, 1)
    ]
    assert found.between((small, "nearest"), (small, "furthest")) == pytest.approx(np.mean(shares))
    # the margin's order nests: the smaller budget's flips are among the larger's
    nested = found.between((small, "nearest"), (large, "nearest"))
    assert nested == pytest.approx(60 / 140)
    assert found.between((small, "noop"), (small, "nearest")) is None
    assert found.between((small, "nearest"), (large, "furthest")) is None


def test_pictures_are_on_one_scale_and_thinned_evenly(frame, monkeypatch):
    (found,) = flips(cell_rows(frame))
    rows = found.at("35 % label edits")
    panels = flip_plots.flip_histograms(rows)
    assert [panel.name for panel in panels] == ["furthest", "nearest", "random_noise"]
    assert len({panel.outline for panel in panels}) == 1
    assert {panel.count for panel in panels} == {140}
    monkeypatch.setattr(flip_plots, "MOST_DOTS", 50)
    dots = flip_plots.dot_plots(rows)
    assert {(d.count, d.drawn) for d in dots} == {(140, 47)}
    assert all(d.path.count("M") == d.drawn for d in dots)
    assert flip_plots.wrong_histogram(rows).count == rows[0].flip.wrong.sum()


def test_fit_has_a_line_an_attack_and_needs_two(frame):
    (found,) = flips(cell_rows(frame))
    drawn = flip_plots.fit_plot(found)
    assert len(drawn.lines) == len(drawn.points) == 4
    assert drawn.dots.count("M") == 4
    for mark in drawn.points:  # no label stands on a line: here all lines are level
        for line in drawn.lines:
            (x0, y), *_, (x1, _) = ([float(v) for v in p.split()] for p in line[1:].split("L"))
            width = LARGE.letter * len(mark.name)
            left = mark.label_x - {"start": 0, "middle": width / 2, "end": width}[mark.anchor]
            assert not (
                left < x1 and x0 < left + width and mark.label_y - 12 < y < mark.label_y + 3
            )
    alone = replace(found, rows=tuple(row for row in found.rows if row.attack == "noop"))
    assert flip_plots.fit_plot(alone) is None


def test_the_page_shows_tables_pictures_and_files(frame, tmp_path):
    site = build(frame, tmp_path / "site").parent
    folder = site / "invented/rank"
    page = (folder / "index.html").read_text()
    assert "Flipped comparisons <small>" in page
    assert page.count('<svg class="plot fit"') == 1
    hits = sum(
        bool(row.flip.attacked.any()) for row in flips(cell_rows(frame))[0].rows
    )  # a control may take none
    assert page.count('<svg class="plot hist"') == 2 * 2 * 3 + hits + 2
    smiling = re.search(r"<tr><th scope=\"row\">smiling</th>(.*?)</tr>", page)[1]
    assert smiling.startswith('<td class="num">90.0</td>')
    assert smiling.count('<td class="num h9">52.0</td>') == 4
    rows = list(csv.DictReader(io.StringIO((folder / "flips.csv").read_text())))
    of = [r for r in rows if r["attack"] == "nearest" and r["budget"] == "15 % label edits"]
    assert sum(int(r["flipped"]) for r in of) == 60
    assert sum(int(r["train"]) for r in of) == N
    overlaps = list(csv.DictReader(io.StringIO((folder / "overlaps.csv").read_text())))
    assert {(r["attack"], r["other_attack"]) for r in overlaps} >= {("furthest", "nearest")}


def test_without_flips_in_records_there_is_no_section(tmp_path):
    site = build(synthetic.frame(SUITE), tmp_path / "site").parent
    page = (site / "invented/rank/index.html").read_text()
    assert "Flipped comparisons <small>" not in page
    assert not (site / "invented/rank/flips.csv").exists()


def test_a_record_that_cannot_be_read_leaves_no_hole_in_the_page(frame, tmp_path):
    broken = {"n": 400, "flipped": "!", "attributes": 3}
    synthetic.alter(frame, lambda r: {"flips": broken if r.cell.attack == "nearest" else r.flips})
    (found,) = flips(cell_rows(frame))
    assert {row.attack for row in found.rows} == {"furthest", "random_noise", "noop"}
    synthetic.alter(frame, lambda record: {"flips": broken})
    assert flips(cell_rows(frame)) == []
    assert (build(frame, tmp_path / "site").parent / "invented/rank/index.html").is_file()


def test_flips_of_a_network_that_overflows_are_counted_and_not_drawn(frame):
    (found,) = flips(cell_rows(frame))
    row = found.at("35 % label edits")[0]
    places = row.flip.places.copy()
    places[:9] = np.nan
    (dots,) = flip_plots.dot_plots([replace(row, flip=replace(row.flip, places=places))])
    assert (dots.count, dots.drawn) == (140, 131)
    assert "nan" not in dots.path
    places[:] = np.nan
    (dots,) = flip_plots.dot_plots([replace(row, flip=replace(row.flip, places=places))])
    assert (dots.drawn, dots.path) == (0, "")
