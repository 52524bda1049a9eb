"""Signs of blinding: each at both sides, and what it does to a rank."""

import numpy as np
import pandas as pd
import pytest

from harness.report import gradient_signs
from harness.report.blinding import SIGNS
from harness.report.flag_kinds import FLAG_KINDS, Direction
from harness.report.leaderboard import tables
from harness.results.codec import pack_bits
from harness.runtime.worker import health_names
from tests.support import synthetic
from tests.support.synthetic import Suite

N = 100
STEP = {"backward": N, "forward": N}
MANY = {"backward": 20 * N, "forward": 20 * N}
ASKING = {"forward": 500 * N}
BLIND: dict[str, int] = {}


def frame(
    attacks: dict[str, tuple[dict[str, int], dict[str, int]]],
    networks: dict[str, str] | None = None,
    budgets=(("L∞ 8/255", 8 / 255),),
) -> pd.DataFrame:
    """Attack → passes, and defence → examples (of 100, all right before) that it leaves right."""
    defenses = dict.fromkeys(next(iter(attacks.values()))[1], 0.5)
    suite = Suite(defenses=defenses, attacks=dict.fromkeys(attacks, 1.0), budgets=budgets,
                  examples=N, seeds=(0,))  # fmt: skip
    found = synthetic.frame(suite)
    made = []
    for record in found.record:
        cell = record.cell
        passes, left = attacks[cell.attack]
        robust = left[cell.defense]
        robust = robust[cell.budget_label] if isinstance(robust, dict) else robust
        after = np.arange(N) < robust
        bits = {"before": np.ones(N, bool), "after": after, "success": ~after,
                "eligible": np.ones(N, bool)}  # fmt: skip
        outcomes = {"ids": "i", "n": N} | {name: pack_bits(each) for name, each in bits.items()}
        network = (networks or {}).get(cell.defense, f"network of {cell.defense}")
        metric = {"value": robust / N, "k": robust, "n": N}
        made.append(
            synthetic.altered(
                record,
                outcomes=outcomes,
                cost={"attack": passes},
                stages={"network": network, "slice": "s"},
                metrics=dict(record.to_json()["metrics"]) | {"robust_accuracy": metric},
            )
        )
    found["record"] = made
    return found


def rows(found: pd.DataFrame):
    table = tables(found)[0]
    return {row.defense: row for row in (*table.rows, *table.unranked)}


def signs(found: pd.DataFrame, defense: str = "guard") -> list[str]:
    return [sign.name for sign in rows(found)[defense].signs]


def both(none: int, guard: int) -> dict[str, int]:
    return {"none": none, "guard": guard}


@pytest.mark.parametrize(("step", "expected"), [(60, []), (40, ["one_step_beats_many"])])
def test_one_step_beats_many(step, expected) -> None:
    found = frame({"fgsm": (STEP, both(40, step)), "pgd": (MANY, both(20, 60))})
    assert signs(found) == expected


@pytest.mark.parametrize(("asked", "expected"), [(60, []), (40, ["query_beats_gradients"])])
def test_a_search_without_gradients_beats_them(asked, expected) -> None:
    found = frame({"pgd": (MANY, both(20, 60)), "square": (ASKING, both(25, asked))})
    assert signs(found) == expected


@pytest.mark.parametrize(("random", "expected"), [(95, []), (40, ["random_beats_gradients"])])
def test_random_change_beats_gradients(random, expected) -> None:
    found = frame({"pgd": (MANY, both(20, 60)), "random_noise": (BLIND, both(95, random))})
    assert signs(found) == expected


@pytest.mark.parametrize(("lent", "expected"), [(70, []), (30, ["borrowed_beats_gradients"])])
def test_inputs_made_against_another_beat_gradients(lent, expected) -> None:
    found = frame({"pgd": (MANY, both(20, 60)), "pgd@none": (BLIND, both(20, lent))})
    found["made_against"] = [
        "none" if attack.endswith("@none") else None for attack in found.attack
    ]
    found = found[(found.defense != "none") | (found.attack != "pgd@none")].reset_index(drop=True)
    assert signs(found) == expected
    assert rows(found)["guard"].score.value == min(lent, 60) / N


@pytest.mark.parametrize(("large", "expected"), [(50, []), (80, ["success_falls_with_radius"])])
def test_success_falls_with_the_radius(large, expected) -> None:
    budgets = (("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255))
    guard = {"L∞ 8/255": large, "L∞ 4/255": 60}
    none = {"L∞ 8/255": 20, "L∞ 4/255": 50}
    found = frame({"pgd": (MANY, {"none": none, "guard": guard})}, budgets=budgets)
    assert signs(found) == expected
    # a smaller change is within the larger budget, so that it counts there too
    assert rows(found)["guard"].score.value == min(large, 60) / N


def test_a_difference_of_few_examples_is_no_sign() -> None:
    found = frame({"pgd": (MANY, both(20, 60)), "square": (ASKING, both(25, 57))})
    assert not signs(found)  # three of a hundred: larger than two points, not significant


def test_a_sign_keeps_a_defence_from_a_rank() -> None:
    found = frame({"pgd": (MANY, both(20, 90)), "square": (ASKING, both(25, 60))})
    row = rows(found)["guard"]
    assert (row.rank, row.bound, row.blinded) == (None, "upper", True)
    assert row.score.value == 0.6


def test_a_sign_is_set_aside_where_nothing_is_left_to_doubt() -> None:
    """The strongest case leaves no more than of the same network without the guard."""
    attacks = {"pgd": (MANY, both(20, 90)), "square": (ASKING, both(25, 21))}
    same = frame(attacks, networks={"none": "n", "guard": "n"})
    assert rows(same)["guard"].rank
    assert signs(same) == ["query_beats_gradients"]
    assert rows(frame(attacks))["guard"].rank is None  # what its own network holds is unknown


def test_a_flag_that_is_set_aside_stays_so_beside_one_about_noise() -> None:
    attacks = {"pgd": (MANY, both(20, 21)), "random_noise": (BLIND, both(20, 21))}
    found = frame(attacks, networks={"none": "n", "guard": "n"})
    lost = [{"name": "lost_gradients", "text": "lost"}]
    guarded = (found.defense == "guard") & (found.attack == "pgd")
    found["record"] = [
        synthetic.altered(record, flags=lost) if chosen else record
        for record, chosen in zip(found.record, guarded, strict=True)
    ]
    row = rows(found)["guard"]
    assert row.rank
    directions = {(flag.name, flag.direction) for flag in row.flags}
    assert directions == {
        ("lost_gradients", Direction.INFORMATION),
        ("no_better_than_noise", Direction.INFORMATION),
    }


@pytest.mark.parametrize(("left", "ranked"), [(23, True), (24, False)])
def test_a_sign_is_not_set_aside_where_more_is_left_on_few_examples(left, ranked) -> None:
    """Four of a hundred are not significant, and more than the trick may be worth."""
    attacks = {"pgd": (MANY, both(20, 90)), "square": (ASKING, both(25, left))}
    row = rows(frame(attacks, networks={"none": "n", "guard": "n"}))["guard"]
    assert bool(row.rank) is ranked


def test_the_undefended_network_shows_signs_and_keeps_its_rank() -> None:
    found = frame({"pgd": (MANY, both(60, 50)), "square": (ASKING, both(20, 50))})
    assert signs(found, "none") == ["query_beats_gradients"]
    assert rows(found)["none"].rank  # it has no guard


def healthy(**figures: float) -> pd.DataFrame:
    """Two attacks against a guard whose gradients have some figures of health."""
    found = frame({"pgd": (MANY, both(20, 60)), "fgsm": (STEP, both(50, 80))})
    record = found.record.tolist()
    found["record"] = [
        synthetic.altered(one, health=figures) if one.cell.defense == "guard" else one
        for one in record
    ]
    return found


@pytest.mark.parametrize(
    ("figure", "good", "bad", "sign"),
    [
        ("unlimited_success", 0.95, 0.8, "unlimited_attack_fails"),
        ("probe_start_zero_gradients", 0.0, 0.2, "gradients_vanish"),
        ("probe_end_zero_gradients", 0.02, 0.2, "gradients_vanish"),
        ("start_zero_gradients", 0.02, 0.2, "gradients_vanish"),
        ("saturated_loss", 0.02, 0.3, "gradients_vanish"),
        ("probe_loss_rose", 1.0, 0.5, "gradients_mislead"),
        ("probe_gradient_gain", 3.0, 1.0, "gradients_mislead"),
        ("probe_gradient_agreement", 0.87, -0.9, "gradients_mislead"),
        ("gradient_agreement", 0.87, -0.9, "gradients_mislead"),
    ],
)
def test_health_of_gradients(figure, good, bad, sign) -> None:
    assert not signs(healthy(**{figure: good}))
    assert signs(healthy(**{figure: bad})) == [sign]


@pytest.mark.parametrize(
    ("figure", "good", "bad"),
    [
        ("probe_loss_rose", 0.66, 0.25),
        ("probe_gradient_gain", 0.79, 0.37),
        ("probe_gradient_agreement", 0.27, 0.07),
        ("gradient_agreement", 0.24, 0.07),
    ],
)
def test_draws_may_blur_a_gradient_but_not_turn_it(figure, good, bad) -> None:
    for value, random, seen in ((good, True, False), (bad, True, True), (good, False, True)):
        found = healthy(**{figure: value})
        if random:
            more = {"draws_differ": {"value": 0.05}}
            synthetic.alter(found, lambda r: {"metrics": r.to_json()["metrics"] | more})  # noqa: B023
        assert (signs(found) == ["gradients_mislead"]) is seen


def test_a_step_of_a_random_network_is_one_step() -> None:
    """8 passes are behind each of its gradients; cost counts them all."""
    found = frame({"fgsm": (MANY, both(20, 40)), "pgd": (MANY, both(20, 60))})
    assert not signs(found)
    found["record"] = [
        synthetic.altered(r, health={"backward_passes": 1.0 if r.cell.attack == "fgsm" else 10.0})
        for r in found.record
    ]
    assert signs(found) == ["one_step_beats_many"]


def test_a_loss_that_one_attack_does_not_flatten_is_no_sign() -> None:
    found = healthy(saturated_loss=0.9)
    one = found.index[(found.defense == "guard") & (found.attack == "fgsm")][0]
    found.at[one, "record"] = synthetic.altered(found.record[one], health={"saturated_loss": 0.0})
    assert not signs(found)


def test_figures_of_health_are_those_that_are_measured() -> None:
    known = {limit.figure for limits in gradient_signs.SIGNS.values() for limit in limits}
    assert known <= {*health_names.PROBE, *health_names.ATTACK}
    assert gradient_signs.LOSS_COSINE == health_names.LOSS_COSINE
    assert {figure for figure in known if figure in health_names.ATTACK} == set(
        gradient_signs.OF_ATTACKS
    )


def test_every_sign_is_a_flag_that_may_flatter() -> None:
    assert {FLAG_KINDS[name].direction for name in SIGNS} == {Direction.FLATTERS}


@pytest.mark.parametrize(
    ("members", "expected"), [([MANY, ASKING], ["query_beats_gradients"]), ([MANY, MANY], [])]
)
def test_attacks_in_order_follow_gradients_only_if_each_does(members, expected) -> None:
    """A query attack is not compared with a worst case that it is part of."""
    whole = {name: sum(one.get(name, 0) for one in members) for name in ("backward", "forward")}
    found = frame(
        {
            "pgd": (MANY, both(20, 60)),
            "square": (ASKING, both(40, 30)),
            "chain": (whole, both(20, 30)),
        }
    )
    steps = [{"attack": f"{n}", "module": "m", "examples": 9, "broken": 0} for n in (1, 2)]
    costs = {"attack": whole} | {f"attack_{n}": one for n, one in enumerate(members, 1)}
    found["record"] = [
        synthetic.altered(one, handed=steps, cost=costs) if one.cell.attack == "chain" else one
        for one in found.record
    ]
    assert signs(found) == expected
