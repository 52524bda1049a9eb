"""Controls are yardsticks: they count as attacks nowhere, and attacks are measured against them."""

from dataclasses import replace

import pytest

from harness.report.flag_kinds import Direction
from harness.report.noise_floor import EQUAL, WORSE
from tests.support import synthetic
from tests.support.leaderboards import BACKDOOR, MAPS, POISON, SMALL, row_at, rows_of

NOISE = {"pgd": 1.0, "random_noise": 0.9, "noop": 0.0}


def noise_flags(suite, name=EQUAL) -> dict[tuple[str, str], Direction]:
    rows, _ = rows_of(suite)
    return {
        (row.defense, flag.attack): flag.direction
        for row in rows.values()
        for flag in row.flags
        if flag.name == name
    }


@pytest.mark.parametrize("suite", [SMALL, POISON, BACKDOOR, MAPS], ids=lambda s: s.threat_model)
def test_random_changes_are_never_the_strongest_attack(suite):
    attacks = {"pgd": 0.3, "random_noise": 1.0, "noop": 0.0}
    rows, table = rows_of(replace(suite, attacks=attacks))
    alone, _ = rows_of(replace(suite, attacks={"pgd": 0.3}))
    for name, row in rows.items():
        assert row.strongest == "pgd"
        assert (row.covered, row.applicable, row.controls, row.borrowed) == (1, 1, 2, 0)
        worse = alone[name].score.value - row.score.value
        if row.control is None and suite is not POISON:
            assert worse >= 0  # what random changes break is broken
        else:
            assert worse == 0  # the attacker chose another attack
    noise = next(one for one in table.attacks if one.attack == "random_noise")
    assert (noise.is_control, noise.strongest_for, noise.only_it_breaks) == (True, 0, None)


def test_controls_alone_rank_nobody():
    rows, table = rows_of(replace(SMALL, attacks={"random_noise": 0.5, "noop": 0.0}))
    assert not table.rows
    assert {(row.score, row.strongest) for row in rows.values()} == {(None, None)}


def test_a_control_that_the_defence_makes_fail_is_a_gap():
    frame = synthetic.frame(SMALL)
    i = row_at(frame, "strong", "noop", seed=1)
    frame.loc[i, ["status", "stage", "reason", "by"]] = ["module_error", "predict", "no", "defense"]
    rows, _ = rows_of(frame)
    assert [gap.attack for gap in rows["strong"].gaps] == ["noop"]
    frame.loc[i, "by"] = "attack"
    assert not rows_of(frame)[0]["strong"].gaps


def test_what_noise_alone_breaks_is_broken():
    attacks = {"pgd": 0.5, "random_noise": 0.5, "noop": 0.0}
    with_noise, _ = rows_of(replace(SMALL, attacks=attacks))
    without, _ = rows_of(replace(SMALL, attacks={"pgd": 0.5}))
    assert with_noise["none"].score.value < without["none"].score.value


def test_an_attack_that_is_no_better_than_noise_is_flagged():
    weak = replace(SMALL, attacks=NOISE | {"pgd": 0.9})
    found = noise_flags(weak)
    assert found["none", "pgd"] is Direction.ATTACK
    assert found["weak", "pgd"] is Direction.INFORMATION
    assert not noise_flags(replace(SMALL, attacks=NOISE | {"random_noise": 0.1}))
    assert not noise_flags(replace(SMALL, attacks={"pgd": 0.9}))


def test_noise_that_does_more_than_an_attack_doubts_the_attack():
    found = noise_flags(replace(SMALL, attacks=NOISE | {"pgd": 0.3}), WORSE)
    assert found["weak", "pgd"] is Direction.ATTACK
    assert found["none", "pgd"] is Direction.ATTACK
