"""Targeted matrices: what they are headed by, who is strongest, which attacks seem not to aim."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from harness.commands.report import make_grid
from harness.report.aim import LEAST_SHARE, NO_MORE_THAN_CONTROL
from harness.report.cells import cell_rows
from harness.report.leaderboard import tables
from harness.report.ranking_rules import headline_of
from harness.report.site import build
from harness.report.site.curves import TOGETHER
from harness.report.site.exports import cells_csv, ranking_csv, results_json
from harness.report.site.findings import WORST_CASE, warning
from harness.results.codec import pack_bits
from tests.support import synthetic
from tests.support.site_pages import text_of
from tests.support.synthetic import Suite
from tests.unit.report.test_targeted_maps import frame as targeted_maps

N = 200
GOAL = "targeted: next"
IMAGES = ("classification", "segmentation")
LEAST = LEAST_SHARE["classification"]
STEP, MANY = {"backward": N, "forward": N}, {"backward": 20 * N, "forward": 20 * N}


def bits(right: range, wrong: range, hit: range) -> dict[str, np.ndarray]:
    """Of N examples those right before, made wrong, and made their target; the last is of it."""
    rows = np.arange(N)
    before = np.isin(rows, right)
    eligible = before & (rows != N - 1)
    success = eligible & np.isin(rows, hit)
    after = before & ~np.isin(rows, wrong) & ~success
    return {"before": before, "after": after, "success": success, "eligible": eligible}


def frame(
    attacks: dict[str, dict[str, dict[str, np.ndarray]]],
    goal: str = GOAL,
    passes: dict[str, dict[str, int]] | None = None,
) -> pd.DataFrame:
    """Attack → defence → outcome bits."""
    defenses = dict.fromkeys(next(iter(attacks.values())), 0.5)
    suite = Suite(defenses=defenses, attacks=dict.fromkeys(attacks, 1.0), examples=N, seeds=(0,),
                  budgets=(("L∞ 8/255", 8 / 255),))  # fmt: skip
    found = synthetic.frame(suite)
    found["goal"] = goal
    made = []
    for record in found.record:
        own = attacks[record.cell.attack][record.cell.defense]
        counts = {
            "clean_accuracy": (own["before"], N),
            "robust_accuracy": (own["before"] & own["after"], N),
            "attack_success_rate": (own.get("success", own["before"]), own.get("eligible", N)),
        }
        metrics = {}
        for name, (hits, among) in counts.items():
            k, n = int(hits.sum()), N if isinstance(among, int) else int(np.sum(among))
            metrics[name] = {"value": k / n, "k": k, "n": n} if n else {"absent": "none eligible"}
        outcomes = {"ids": "i", "n": N} | {name: pack_bits(each) for name, each in own.items()}
        cost = {"attack": (passes or {}).get(record.cell.attack, STEP)}
        cell = record.to_json()["cell"] | {"goal": goal}
        more = {"outcomes": outcomes, "metrics": metrics, "cost": cost, "cell": cell}
        made.append(synthetic.altered(record, **more))
    found["record"] = made
    return found


ALL = range(180)
NOOP = bits(ALL, range(0), range(0))
BROAD = bits(ALL, range(90), range(6))
AIMED = bits(ALL, range(60), range(40, 60))


def alone(**attacks: dict[str, np.ndarray]) -> pd.DataFrame:
    return frame({name: {"none": one} for name, one in attacks.items()})


def only_table(found: pd.DataFrame):
    (table,) = tables(found)
    return table


def test_the_attack_that_reaches_its_goal_more_often_is_the_strongest():
    """The first lowers accuracy more: under it 90 examples stay right, under the other 120."""
    table = only_table(alone(broad=BROAD, aimed=AIMED, noop=NOOP))
    (row,) = table.rows
    assert row.strongest == "aimed"
    assert [a.attack for a in table.attacks if a.strongest_for] == ["aimed"]
    gains = {a.attack: a.only_it_breaks for a in table.attacks}
    assert gains == {
        "aimed": pytest.approx(20 / 180),
        "broad": pytest.approx(6 / 180),
        "noop": None,
    }
    found = alone(broad=BROAD, aimed=AIMED, noop=NOOP)
    found["goal"] = "untargeted"
    assert only_table(found).rows[0].strongest == "broad"


def test_an_example_resists_only_if_no_attack_reaches_its_target():
    row = only_table(alone(broad=BROAD, aimed=AIMED, noop=NOOP)).rows[0]
    reached = BROAD["success"] | AIMED["success"]
    assert (row.score.k, row.score.n) == (int(reached.sum()), 180) == (26, 180)
    assert row.score.value >= max(cell.score.value for cell in row.cells)
    assert row.score.lo < row.score.value < row.score.hi


def test_only_eligible_examples_count():
    """The last example is of its target class already."""
    table = only_table(alone(aimed=bits(range(N), range(N), range(N)), noop=NOOP))
    assert (table.rows[0].score.k, table.rows[0].score.n) == (N - 1, N - 1)


def test_untargeted_damage_stands_beside_it():
    found = alone(broad=BROAD, aimed=AIMED, noop=NOOP)
    beside = only_table(found).rows[0].untargeted
    found["goal"] = "untargeted"
    row = only_table(found).rows[0]
    assert beside == row.score
    assert row.untargeted is None


def test_defences_are_ranked_and_tested_by_what_resists():
    """The first keeps fewer examples right, and lets fewer become their target."""
    hard, soft = bits(ALL, range(120), range(2)), bits(ALL, range(50), range(50))
    table = only_table(frame({"aimed": {"hard": hard, "soft": soft, "none": soft}}))
    assert table.rows[0].defense == "hard"
    assert {row.defense: row.rank for row in table.rows} == {"hard": 1, "soft": 2, "none": 2}
    assert table.rows[0].untargeted.value < table.rows[1].untargeted.value


def test_results_elsewhere_that_reach_more_are_named():
    """At the smaller radius the attack reaches other targets."""
    found = alone(aimed=AIMED, noop=NOOP)
    small = alone(aimed=bits(ALL, range(0), range(100, 130)), noop=NOOP)
    for column, value in (("eps", 4 / 255), ("budget_label", "L∞ 4/255"), ("key", None)):
        small[column] = value or small.key.map(lambda key: key[::-1])
    small["budget"] = [{"norm": "linf", "eps": 4 / 255}] * len(small)
    large = tables(pd.concat([found, small], ignore_index=True))[0]
    assert large.rows[0].elsewhere == ("aimed at L∞ 4/255",)
    assert large.rows[0].score.k == 50


def test_signs_of_blinding_are_looked_for_in_targets():
    """One step makes more errors, and reaches fewer targets: no sign."""
    few, many = bits(ALL, range(100), range(10)), bits(ALL, range(50), range(50))
    passes = {"step": STEP, "many": MANY}
    signs = only_table(frame({"step": {"none": few}, "many": {"none": many}}, GOAL, passes))
    assert signs.rows[0].signs == ()
    signs = only_table(frame({"step": {"none": many}, "many": {"none": few}}, GOAL, passes))
    (row,) = (*signs.rows, *signs.unranked)
    assert [sign.name for sign in row.signs] == ["one_step_beats_many"]


def test_a_record_without_the_bit_is_a_gap_with_a_reason():
    """An old record does not say which examples reached their target."""
    old = {name: AIMED[name] for name in ("before", "after")}
    (row,) = only_table(alone(aimed=AIMED, old=old, noop=NOOP)).unranked
    assert [gap.attack for gap in row.gaps] == ["old"]
    assert row.gaps[0].reason


def test_without_an_eligible_example_nothing_is_ranked():
    """The attacker's classes are not the student's: no target means anything."""
    none = AIMED | {"success": np.zeros(N, bool), "eligible": np.zeros(N, bool)}
    (row,) = only_table(alone(aimed=none, noop=none)).unranked
    assert row.score is None
    assert {cell.word for cell in row.cells} == {"undefined"}
    assert {cell.reason for cell in row.cells} == {"none eligible"}


def errors_at(share: float, wrong: int = 80) -> dict[str, np.ndarray]:
    return bits(ALL, range(wrong), range(round(share * wrong)))


@pytest.mark.parametrize(("share", "seen"), [(LEAST - 0.05, True), (LEAST + 0.05, False)])
def test_an_attack_whose_errors_miss_the_target_seems_not_to_aim(share, seen):
    table = only_table(alone(odd=errors_at(share), aimed=AIMED, noop=NOOP))
    assert ("odd" in table.misses) is seen
    assert "aimed" not in table.misses
    text = "".join(part.text for part in warning(table))
    assert ("It is doubtful whether all attacks aim at their targets: see odd." in text) is seen


def test_a_matrix_whose_attacks_ignore_the_goal_says_so():
    table = only_table(alone(odd=errors_at(0.1), noop=NOOP))
    assert table.aimless
    text = "".join(part.text for part in warning(table))
    assert text == " No attack seems to aim at its target: see the list of attacks."
    noise = errors_at(0.2, 10)
    table = only_table(alone(odd=noise, noop=NOOP, random_noise=noise))
    assert table.misses == {"odd": NO_MORE_THAN_CONTROL}
    text = "".join(part.text for part in warning(table))
    assert text == " No attack reaches its target significantly more often than the control does."
    assert only_table(alone(noop=NOOP)).aimless is False


def test_no_attack_is_strongest_where_no_target_is_reached():
    table = only_table(alone(odd=bits(ALL, range(50), range(0)), noop=NOOP))
    (row,) = table.rows
    assert (row.strongest, row.score.value) == (None, 0)
    assert row.untargeted.value < row.clean.value
    assert not any(a.strongest_for for a in table.attacks)


def test_untargeted_tables_know_of_no_aim():
    found = alone(odd=errors_at(0.1), noop=NOOP)
    found["goal"] = "untargeted"
    table = only_table(found)
    assert table.misses == {}
    assert warning(table) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [("next", "the class that follows the true one"), ("random", "another class, drawn for each"),
     ("least_likely", "the class that the network finds least likely"), ("3", "class 3")],
)  # fmt: skip
def test_the_headline_says_that_targets_exist_and_which_rule_chose_them(rule, words):
    headline = headline_of("evasion", "classification", f"targeted: {rule}")
    assert headline.targeted
    assert words in headline.target
    assert words in headline.how
    assert words in headline.brief
    assert "argeted" in headline.title
    assert "{" not in repr(headline)
    assert not headline_of("evasion", "classification").targeted


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_pages_say_targeted_and_which_rule_chose_the_targets(task, tmp_path):
    """Title, strip, column heads and overview, and of a cell its own page."""
    found = alone(broad=BROAD, aimed=AIMED, noop=NOOP)
    if task == "segmentation":
        found = targeted_maps({"pgd": 0.6, "fgsm": 0.4, "noop": 0.0})
    index = build(found, tmp_path / "site")
    (page,) = (index.parent / "invented").rglob("linf/index.html")
    target = headline_of("evasion", task, GOAL).target
    text = text_of(page.read_text())
    assert "targeted" in page.read_text().partition("</title>")[0]
    assert f"targeted ({target})" in text
    assert f"targets: {target}" in text
    assert "Best defence lets through (targeted)" in text
    assert "Targeted success, %" in text
    assert f"targeted: {target}" in text_of(index.read_text())
    cell = text_of(next((index.parent / "invented").rglob("none/*.html")).read_text())
    assert f"{GOAL}: {target}" in cell
    assert "Targeted success, %" in cell


def test_what_an_attack_leaves_stands_beside_how_often_it_reaches_its_target(tmp_path):
    """On both pages and in the table of cells."""
    found = alone(broad=BROAD, aimed=AIMED, noop=NOOP)
    (line,) = [one for one in cell_rows(found) if one.attack == "broad"]
    (row,) = csv.DictReader(io.StringIO(cells_csv([line])))
    metrics = line.record.metrics
    both = [metrics[name].value for name in ("attack_success_rate", "robust_accuracy")]
    assert [float(row["attack_success_rate"]), float(row["robust_accuracy"])] == both
    reached, left = (f"{100 * value:.1f}" for value in both)
    index = build(found, tmp_path / "site")
    (page,) = (index.parent / "invented").rglob("linf/index.html")
    matrix = page.read_text().partition('<table class="matrix">')[2].partition("</table>")[0]
    assert f">{reached}<small>{left}</small></a>" in matrix
    assert "below each figure: robust accuracy, %" in text_of(page.read_text())
    cell = text_of(next((index.parent / "invented").rglob("none/broad.html")).read_text())
    assert f"{reached} % targeted success" in cell
    assert f"Robust accuracy: {left} %." in cell


def test_every_rule_of_a_headline_has_its_texts():
    goals = ("untargeted", GOAL)
    rules = {headline_of("evasion", task, goal).rule for task in IMAGES for goal in goals}
    assert {"joint", "greedy", "images"} == rules
    assert rules <= set(WORST_CASE)
    assert rules <= set(TOGETHER)


def test_exports_and_terminal_say_targeted():
    table = only_table(alone(aimed=AIMED, noop=NOOP))
    (line,) = csv.DictReader(io.StringIO(ranking_csv([table])))
    assert (line["goal"], line["metric"]) == (GOAL, "attack_success_rate")
    assert float(line["resists"]) == 1 - float(line["score"])
    assert float(line["untargeted"]) == table.rows[0].untargeted.value
    assert headline_of("evasion", "classification", GOAL).target in results_json([table])
    grid = make_grid(table)
    assert GOAL in str(grid.title)
    titles = {str(column.header).replace("\n", " ") for column in grid.columns}
    assert {"Targeted success", "Robust accuracy"} <= titles


def test_a_defence_that_is_wrong_at_once_where_it_would_lose_is_said_to_count_fewer():
    honest = bits(ALL, range(60), range(60))
    cheat = bits(range(60, 180), range(0), range(0))
    table = only_table(frame({"aimed": {"none": honest, "guard": cheat}}))
    rows = {row.defense: row for row in (*table.rows, *table.unranked)}
    texts = {c.name: c.text for c in rows["guard"].caveats}
    assert texts["fewer counted"] == "120 examples count, 180 without a defence"
    assert "fewer counted" not in {c.name for c in rows["none"].caveats}


def test_defences_that_are_right_on_different_examples_may_all_be_beaten(tmp_path):
    groups = [range(0, 60), range(60, 120), range(120, 180)]
    defenses = {}
    for i, name in enumerate("abc"):
        right = [*groups[i], *groups[(i + 1) % 3]]
        defenses[name] = bits(right, groups[i], groups[i])
    found = frame({"aimed": defenses})
    table = only_table(found)
    assert {row.rank for row in table.rows} == {2}
    page = build(found, tmp_path / "site").read_text()
    assert "3 of 3 share first place" in page
