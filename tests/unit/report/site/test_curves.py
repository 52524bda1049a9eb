"""Curves over the budget: lines, gaps, labels beside their ends."""

from dataclasses import replace

import numpy as np
import pytest

from harness.report.leaderboard import tables
from harness.report.site import build
from harness.report.site.curves import curves
from harness.report.site.labels import spread
from tests.support import synthetic
from tests.support.synthetic import Suite
from tests.unit.report.site.test_figures import MAPS

TWO = Suite(
    budgets=(("a", 0.1), ("b", 0.2)),
    seeds=(0,),
    defenses={"none": 0.0},
    attacks={"pgd": 1.0, "fgsm": 0.5},
    examples=50,
)


@pytest.fixture(scope="module")
def frame():
    return synthetic.frame(MAPS)


def panels(frame):
    (found,) = curves(tables(frame))
    return {panel.name: panel for panel in found.panels}


def test_curves_go_through_the_scores_and_start_at_the_clean_figure(frame):
    found = panels(frame)
    by_eps = {table.eps: table for table in tables(frame) if table.eps}
    assert list(found) == [r.defense for r in (*by_eps[8 / 255].rows, *by_eps[8 / 255].unranked)]
    for defense, panel in found.items():
        (y0, up0), (y1, up1) = (
            (float(t.text), t.at) for t in (panel.y_ticks[0], panel.y_ticks[-1])
        )
        assert [tick.text for tick in panel.x_ticks] == ["0", "4", "8"]
        assert {curve.name for curve in panel.curves} == {"all attacks", *MAPS.attacks}
        for curve in panel.curves:
            points = [p.split() for p in curve.path[1:].split("L")]
            heights = [y0 + (float(y) - up0) / (up1 - up0) * (y1 - y0) for _, y in points]
            rows = [
                next(r for r in (*t.rows, *t.unranked) if r.defense == defense)
                for t in (by_eps[4 / 255], by_eps[8 / 255])
            ]
            scores = [
                row.score if curve.name == "all attacks"
                else next(c.score for c in row.cells if c.attack == curve.name)
                for row in rows
            ]  # fmt: skip
            expected = [100 * e.value for e in (rows[0].clean, *scores)]
            assert heights == pytest.approx(expected, abs=0.3)
            xs = [float(x) for x, _ in points]
            assert xs == pytest.approx([panel.x_ticks[i].at for i in range(3)], abs=0.1)


def test_the_same_lines_are_drawn_for_each_attack(frame):
    (found,) = curves(tables(frame))
    assert [panel.name for panel in found.by_attack] == ["all attacks", "pgd", "fgsm"]
    for panel in found.by_attack:
        heights = {line.name: line.y for line in panel.curves}
        assert heights == pytest.approx({
            one.name: next(line.y for line in one.curves if line.name == panel.name)
            for one in found.panels
        })  # fmt: skip
        assert {line.style for line in panel.curves if line.name == "none"} == {"control"}
    (alone,) = curves(tables(synthetic.frame(TWO)))
    assert alone.by_attack == ()


@pytest.mark.parametrize(
    ("limits", "drawn"),
    [
        ([{"norm": "linf", "eps": 0.1}, {"norm": "linf", "eps": 0.2}], True),
        ([{"norm": "linf", "eps": 0.1}, {"unbounded": True}], False),
        ([{"norm": "l2", "eps": 0.1}, {"norm": "l2", "eps": 0.2}], True),
        ([{"norm": "l2", "eps": 0.1}, {"norm": "linf", "eps": 0.2}], False),
        ([{"norm": "l2", "eps": 0.1}, {"norm": "l2", "minimal": True}], False),
        (
            [
                {"norm": "linf", "eps": 0.1, "queries": 10},
                {"norm": "linf", "eps": 0.2, "queries": 20},
            ],
            False,
        ),
    ],
)
def test_only_budgets_that_differ_in_their_radius_are_joined(limits, drawn):
    base = tables(synthetic.frame(replace(MAPS, budgets=(("a", 0.1), ("b", 0.2)))))
    changed = [
        replace(t, limits=one, eps=one.get("eps")) for t, one in zip(base, limits, strict=True)
    ]
    assert bool(curves(changed)) is drawn


def test_a_success_rate_has_no_clean_start_and_one_attack_no_line_for_all():
    suite = replace(TWO, threat_model="backdoor", attacks={"badnets": 1.0, "noop": 0.0})
    panel = panels(synthetic.frame(suite))["none"]
    assert [curve.name for curve in panel.curves] == ["badnets", "noop"]
    assert all(curve.path.count("L") == 1 for curve in panel.curves)


@pytest.mark.parametrize(("second", "drawn"), [([0.2, 0.4], True), ([0.2, 0.3], False)])
def test_radii_of_the_same_units_are_joined_in_these_units(second, drawn):
    base = tables(synthetic.frame(replace(MAPS, budgets=(("a", 0.1), ("b", 0.2)))))
    changed = [
        replace(t, limits={"norm": "linf", "eps": t.eps, "per_channel": units})
        for t, units in zip(base, (second, [0.2, 0.4]), strict=True)
    ]
    found = curves(changed)
    assert bool(found) is drawn
    for one in found:
        assert one.axis.title == "ε, in the unit of each channel →"
        assert (one.axis.field, one.axis.label(0.1)) == ("eps", "0.1")


def test_of_many_attacks_the_strongest_and_the_controls_have_a_line():
    attacks = {f"attack-{i:02d}": 0.3 + 0.04 * i for i in range(15)} | {"noop": 0.0}
    frame = synthetic.frame(replace(TWO, attacks=attacks, examples=300))
    (found,) = curves(tables(frame))
    assert found.omitted == 3
    last = tables(frame)[0]
    order = sorted((a.score, a.attack) for a in last.attacks if a.attack != "noop")
    drawn = {curve.name for curve in found.panels[0].curves} - {"all attacks", "noop"}
    assert drawn == {name for _, name in order[:12]}
    assert "noop" in {curve.name for curve in found.panels[0].curves}


def test_gaps_are_marked_on_the_axis_or_named():
    gaps = {("trades", "fgsm"): ("timeout", "slow")}
    found = panels(synthetic.frame(replace(MAPS, gaps=gaps)))
    assert found["trades"].missing == ("fgsm",)
    assert "all attacks" not in {curve.name for curve in found["trades"].curves}
    assert found["none"].missing == ()
    frame = synthetic.frame(MAPS)
    lost = (frame.defense == "none") & (frame.attack == "fgsm") & (frame.eps == 8 / 255)
    frame.loc[lost, "status"] = "timeout"
    panel = panels(frame)["none"]
    (curve,) = (curve for curve in panel.curves if curve.name == "fgsm")
    assert curve.missing == (panel.x_ticks[-1].at,)
    assert curve.path.count("L") == 1


@pytest.mark.parametrize("task", ["classification", "segmentation", "ranking"])
def test_curves_are_drawn_for_every_task(task, tmp_path):
    threat = "evasion" if task != "ranking" else "poisoning"
    suite = replace(TWO, task=task, threat_model=threat)
    page = (
        build(synthetic.frame(suite), tmp_path / "site").parent / "invented/linf/index.html"
    ).read_text()
    assert page.count('<svg class="plot curve"') == 1
    assert "Curves over the budget" in page
    one = replace(suite, budgets=(("a", 0.1),))
    page = build(synthetic.frame(one), tmp_path / "one").parent / "invented/linf/index.html"
    assert '<svg class="plot curve"' not in page.read_text()


@pytest.mark.parametrize("seed", range(20))
def test_labels_keep_their_order_their_distance_and_the_room(seed):
    rng = np.random.default_rng(seed)
    wanted = rng.uniform(0, 100, rng.integers(1, 12)).tolist()
    placed = spread(wanted, 8.0, 0.0, 100.0)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= 7.8).all()
    assert min(placed) >= -0.1
    assert max(placed) <= 100.1
    alone = spread([50.0, 90.0], 8.0, 0.0, 100.0)
    assert alone == [50.0, 90.0]
