"""Attacks that fail by their own fault, and defences that met controls only."""

from dataclasses import replace

from harness.report.leaderboard import tables
from tests.support import synthetic
from tests.support.leaderboards import SMALL, rows_of

ERROR = ("module_error", "it raised")
SUITE = replace(SMALL, attacks={"pgd": 1.0, "fgsm": 0.5, "noop": 0.0}, seeds=(0,))
DEFENSES = tuple(SUITE.defenses)


def broken(suite):
    (table,) = tables(synthetic.frame(suite))
    return {row.attack for row in table.attacks if row.broken}


def test_an_attack_that_fails_against_the_undefended_network_counts_for_nobody() -> None:
    suite = replace(SUITE, gaps={(defense, "pgd"): ERROR for defense in DEFENSES})
    rows, _ = rows_of(suite)
    assert broken(suite) == {"pgd"}
    assert all(row.rank and not row.gaps for row in rows.values())


def test_an_attack_that_fails_against_one_defence_only_is_its_gap() -> None:
    suite = replace(SUITE, gaps={("weak", "pgd"): ERROR})
    rows, _ = rows_of(suite)
    assert not broken(suite)
    assert rows["weak"].rank is None
    assert rows["strong"].rank


def test_without_the_control_it_must_fail_against_all() -> None:
    others = {name: power for name, power in SUITE.defenses.items() if name != "none"}
    one, *_ = others
    suite = replace(SUITE, defenses=others)
    assert broken(replace(suite, gaps={(name, "pgd"): ERROR for name in others})) == {"pgd"}
    assert not broken(replace(suite, gaps={(one, "pgd"): ERROR}))


def test_what_was_not_run_is_not_broken() -> None:
    missing = ("missing", "not run yet")
    suite = replace(SUITE, gaps={(defense, "pgd"): missing for defense in DEFENSES})
    rows, _ = rows_of(suite)
    assert not broken(suite)
    assert not any(row.rank for row in rows.values())


def test_a_defence_that_met_controls_only_has_no_rank() -> None:
    rows, _ = rows_of(replace(SUITE, attacks={"noop": 0.0, "random_noise": 0.1}))
    assert not any(row.rank for row in rows.values())


def test_a_broken_attack_leaves_a_defence_that_met_nothing_else_without_a_rank() -> None:
    suite = replace(SUITE, attacks={"pgd": 1.0, "noop": 0.0})
    rows, _ = rows_of(replace(suite, gaps={(defense, "pgd"): ERROR for defense in DEFENSES}))
    assert not any(row.rank for row in rows.values())
