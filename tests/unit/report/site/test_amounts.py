"""Charts of the clean figure over the amount of training data."""

import csv
import math
from dataclasses import replace

import pytest

from harness.report.leaderboard import tables
from harness.report.site import SiteMeta, build
from harness.report.site.about import Heading
from harness.report.site.amounts import AXIS, Level, amounts
from harness.report.site.line_panels import Series, panel
from tests.support import synthetic
from tests.support.synthetic import Suite

SUITE = Suite(
    examples=100,
    victims=("small-cnn", "mlp"),
    defenses={"trades": 0.5, "none": 0.0},
    attacks={"pgd": 1.0, "noop": 0.0},
    budgets=(("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255)),
)
FAILED = ("timeout", "stopped at its time limit of 60 s")
CLEAN = {20: 0.3, 100: 0.6, 1000: 0.9}


def suite(count, **changes):
    return replace(SUITE, matrix=f"m@{count}", clean=CLEAN[count], **changes)


def gaps(*defenses, status=FAILED):
    return {(defense, attack): status for defense in defenses for attack in SUITE.attacks}


def levels(*suites):
    frame = synthetic.frame(*suites)
    found: dict[str, list] = {}
    for table in tables(frame):
        found.setdefault(table.matrix, []).append(table)
    return [Level(name, int(name[2:]), made) for name, made in found.items()]


def curves_of(found, victim="small-cnn"):
    (one,) = (one for one in found.panels if one.name == victim)
    return {curve.name: curve for curve in one.curves}, one


def test_lines_go_through_the_clean_figures_of_the_tables_on_a_logarithmic_axis():
    made = levels(*map(suite, CLEAN))
    found = amounts(made)
    assert [one.name for one in found.panels] == ["small-cnn", "mlp"]
    lines, chart = curves_of(found)
    assert lines.keys() == SUITE.defenses.keys()
    assert [tick.text for tick in chart.x_ticks] == ["20", "100", "1,000"]
    at = [tick.at for tick in chart.x_ticks]
    share = (at[1] - at[0]) / (at[2] - at[0])
    assert share == pytest.approx(math.log(5) / math.log(50), abs=0.001)
    for level in made:
        table = next(one for one in level.tables if one.victim == "mlp")
        for row in (*table.rows, *table.unranked):
            (point,) = (
                one
                for one in found.points
                if (one.matrix, one.victim, one.defense) == (level.matrix, "mlp", row.defense)
            )
            assert point.clean == row.clean
            assert point.examples == level.examples


def test_levels_are_in_the_order_of_their_size_whatever_the_file_s():
    forth, back = (amounts(levels(*map(suite, order))) for order in (CLEAN, reversed(CLEAN)))
    assert forth.panels == back.panels


def test_the_undefended_network_is_told_from_defences_and_a_defence_has_one_colour():
    found = amounts(levels(*map(suite, CLEAN)))
    for victim in SUITE.victims:
        lines, _ = curves_of(found, victim)
        assert {name: line.style for name, line in lines.items()} == {
            "none": "control",
            "trades": "k0",
        }


def test_bands_are_one_standard_deviation_over_seeds_and_need_several():
    found = amounts(levels(*map(suite, CLEAN)))
    assert found.seeds == 3
    assert all(curve.band for one in found.panels for curve in one.curves)
    single = amounts(levels(*(suite(count, seeds=(0,)) for count in CLEAN)))
    assert single.seeds == 1
    assert not any(curve.band for one in single.panels for curve in one.curves)
    line = Series("a", "k0", [(0.0, 0.5), (1.0, 0.5)], [], {0.0: (0.25, 0.75), 1.0: (0.5, 1.0)})
    (curve,) = panel("v", AXIS, [line], [0.0, 1.0]).curves
    y = [float(point.split()[1]) for point in curve.band.strip("Mz").split("L")]
    assert y == [164, 118, 26, 72]  # of 0 to 100 % at 210 to 26


def test_a_level_without_a_result_interrupts_the_line_and_is_marked():
    made = levels(suite(20), suite(100, gaps=gaps("trades")), suite(1000))
    lines, chart = curves_of(amounts(made))
    assert lines["trades"].path.count("M") == 2
    assert lines["none"].path.count("M") == 1
    assert lines["trades"].missing == (chart.x_ticks[1].at,)
    assert lines["none"].missing == ()
    assert amounts(made).interrupted
    assert not amounts(levels(*map(suite, CLEAN))).interrupted


def test_what_the_plan_excludes_is_a_gap_without_a_mark():
    never = ("not_applicable", "does not fit")
    made = levels(suite(20), suite(100, gaps=gaps("trades", status=never)), suite(1000))
    lines, _ = curves_of(amounts(made))
    assert lines["trades"].path.count("M") == 2
    assert lines["trades"].missing == ()


def test_a_defence_without_any_result_is_named():
    made = levels(*(suite(count, gaps=gaps("trades")) for count in CLEAN))
    lines, chart = curves_of(amounts(made))
    assert lines.keys() == {"none"}
    assert chart.missing == ("trades",)


def test_no_chart_of_one_level_or_of_none_that_was_run():
    assert amounts(levels(suite(20))) is None
    idle = [suite(count, gaps=gaps("none", "trades")) for count in CLEAN]
    assert amounts(levels(*idle)) is None


def test_pages_of_a_family_show_its_chart_and_its_figures(tmp_path):
    suites = [*map(suite, CLEAN), replace(SUITE, matrix="m")]
    meta = SiteMeta(
        matrices={
            ("invented", f"m@{count}"): Heading(f"Digits, {count}", examples=count)
            for count in CLEAN
        }
    )
    site = build(synthetic.frame(*suites), tmp_path / "site", meta).parent
    written = {
        path.name: (path / "amounts.csv").is_file() for path in (site / "invented").iterdir()
    }
    assert written == {"m": False, "m~4020": True, "m~40100": True, "m~401000": True}
    for folder, there in written.items():
        page = (site / "invented" / folder / "index.html").read_text(encoding="utf-8")
        assert ("Amount of training data" in page) == there
        assert ("clean accuracy, %" in page) == there
    text = (site / "invented" / "m~4020" / "amounts.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 3 * 2 * 2
    assert {row["train_examples"] for row in rows} == {"20", "100", "1000"}
    assert {row["metric"] for row in rows} == {"clean_accuracy"}
    assert all(float(row["clean"]) > 0 for row in rows)
