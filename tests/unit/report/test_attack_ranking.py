"""Places of attacks: what they reach, beside all and beside those of their cost."""

import numpy as np
import pandas as pd
import pytest

from harness.report import leaderboard
from harness.report.worst_case import decode
from harness.results.codec import pack_distances
from tests.support import synthetic
from tests.support.attack_outcomes import N, frame


def table(*attacks, **options):
    return leaderboard.tables(frame(*attacks, **options))[0]


def places(found):
    return {row.attack: row.standing for row in found.attacks}


STRONG = {"weak": range(40), "strong": range(100), "other": range(80, 120)}
COST = {"weak": 10, "strong": 100, "other": 10}


def test_reach_is_the_share_of_what_all_attacks_break():
    found = places(table(STRONG, COST))
    assert [found[name].reach for name in STRONG] == pytest.approx([40 / 120, 100 / 120, 40 / 120])
    assert [found[name].passes for name in STRONG] == [10, 100, 10]


def test_at_its_cost_an_attack_is_held_against_no_dearer_one():
    found = places(table(STRONG, COST))
    wanted = [40 / 80, 100 / 120, 40 / 80]
    assert [found[name].reach_at_cost for name in STRONG] == pytest.approx(wanted)


def test_places_are_ranges_where_no_test_tells_attacks_apart():
    found = places(table(STRONG, COST))
    assert {name: one.place for name, one in found.items()} == {
        "strong": "1",
        "weak": "2–3",
        "other": "2–3",
    }


def test_controls_and_attacks_without_a_result_have_no_place():
    attacks = STRONG | {"noop": range(0), "late": range(150)}
    found = places(table(attacks, COST | {"noop": 1, "late": 1}, gap=[("guard", "late")]))
    assert (found["noop"], found["late"]) == (None, None)
    assert found["strong"].reach == pytest.approx((100 / 150 + 100 / 120) / 2)


def test_where_nothing_is_broken_there_is_no_place():
    found = places(table({"weak": range(0), "strong": range(0)}, COST))
    assert set(found.values()) == {None}


def near(scale):
    found = scale * np.linspace(0.1, 1, N)
    return np.where(np.arange(N) % 50 == 49, np.inf, found)


def test_distances_reach_by_the_area_below_the_curve():
    distances = {"near": near(1.0), "far": near(2.0)}
    attacks = {name: np.flatnonzero(np.isfinite(one)) for name, one in distances.items()}
    found = table(attacks, {"near": 10, "far": 10}, distances=distances)
    assert places(found)["near"].reach == 1
    area = {n: np.sum(1 - np.minimum(d, d[np.isfinite(near(1))].max() if n == "near"
            else near(1)[np.isfinite(near(1))].max()) / near(1)[np.isfinite(near(1))].max())
            for n, d in distances.items()}  # fmt: skip
    assert places(found)["far"].reach == pytest.approx(area["far"] / area["near"], rel=1e-5)
    assert [places(found)[name].place for name in ("near", "far")] == ["1", "2"]


def test_each_seed_has_a_scale_of_its_own():
    """Or a network that is weak on one seed would make all distances on another as good as far."""
    spread = np.linspace(0.1, 0.2, N)
    whole = {"near": range(N), "far": range(N)}
    distances = {"near": spread, "far": 1.5 * spread}
    first = frame(whole, {"near": 10, "far": 10}, distances=distances, defenses=("none",))
    second = first.copy()
    short = {"distances": pack_distances(np.full(N, 0.05))}
    second["record"] = [synthetic.altered(r, outcomes=r.outcomes | short) for r in first.record]
    second["seed"], second["key"] = 1, [f"{key}1" for key in first.key]
    both = places(leaderboard.tables(pd.concat([first, second], ignore_index=True))[0])
    alone = places(leaderboard.tables(first)[0])
    assert alone["far"].reach < 0.5
    assert both["far"].reach == pytest.approx(alone["far"].reach)


def test_an_attack_that_breaks_nothing_at_its_cost_has_no_figure_for_it():
    found = places(table({"weak": range(0), "strong": range(50)}, COST))
    assert (found["weak"].reach, found["weak"].reach_at_cost) == (0, None)


@pytest.mark.parametrize("change", ["shorter", "longer", "elsewhere"])
def test_distances_that_contradict_the_outcomes_are_not_read(change):
    distances = {"near": near(1.0)}
    attacks = {"near": np.flatnonzero(np.isfinite(near(1.0)))}
    found = frame(attacks, {"near": 10}, distances=distances)
    forged = near(1.0)
    forged[49 if change == "shorter" else 0] = 0.1 if change == "shorter" else np.inf
    if change == "elsewhere":  # a record of a radius has none
        forged = near(1.0)
    packed = {"distances": pack_distances(forged)}
    made = [synthetic.altered(r, outcomes=r.outcomes | packed) for r in found.record]
    assert all((decode(r) is None) == (change != "elsewhere") for r in with_budget(made, MINIMAL))
    if change == "elsewhere":
        assert all(decode(r).distances is None for r in with_budget(made, RADIUS))


MINIMAL, RADIUS = {"norm": "l2", "minimal": True}, {"norm": "l2", "eps": 1.0}


def with_budget(records, budget):
    return [
        synthetic.altered(r, cell=r.cell.model_copy(update={"budget": budget})) for r in records
    ]


def test_defences_are_not_ranked_by_distances():
    """Whoever blinds attacks has the largest distance."""
    distances = {"near": near(1.0), "far": near(2.0)}
    attacks = {name: np.flatnonzero(np.isfinite(one)) for name, one in distances.items()}
    found = table(attacks, {"near": 10, "far": 10}, distances=distances)
    assert found.rows == ()
    for row in found.unranked:
        assert row.distance.value == pytest.approx(np.median(near(1.0)), rel=1e-6)
        assert not any(caveat.name == "limit" for caveat in row.caveats)
