"""Caveats: what must be said beside a number, and when nothing must."""

from dataclasses import replace

import pytest

from harness.report.caveats import CAVEATS
from tests.support import synthetic
from tests.support.leaderboards import SMALL, rows_of

CONTAINED = replace(SMALL, executor="docker")


def said(suite, defense="strong") -> dict[str, str]:
    return {one.name: one.text for one in rows_of(suite)[0][defense].caveats}


def with_column(name, value):
    frame = synthetic.frame(CONTAINED)
    frame[name] = [value] * len(frame)
    return frame


def test_a_clear_result_in_containers_needs_no_caveat():
    assert said(CONTAINED, "weak") == {}


@pytest.mark.parametrize(
    ("name", "suite", "text"),
    [
        ("tie", CONTAINED, "no significant difference over places 1–2 of 4"),
        ("self-reported", SMALL, "run without isolation"),
        ("stale", replace(CONTAINED, stale=True), "9 stale records"),
        ("thin", with_column("thin", ("query attack",)), "the matrix lacks a query attack"),
        (
            "shared examples",
            with_column("shared", "3 test pictures are also in train"),
            "3 test pictures are also in train",
        ),
        (
            "approximate gradient",
            with_column("approximate", True),
            "a better attack may lower this",
        ),
        (
            "limit",
            replace(CONTAINED, gaps={("strong", "pgd"): ("timeout", "stopped")}),
            "at most, because of missing results",
        ),
        (
            "flagged",
            replace(CONTAINED, flags={("strong", "pgd"): ("not_converged", "x")}),
            "not converged",
        ),
    ],
)
def test_each_caveat_is_said(name, suite, text):
    assert said(suite)[name] == text


def test_what_speaks_for_a_defence_is_no_caveat():
    suite = replace(CONTAINED, flags={("strong", "pgd"): ("control_same", "x")})
    assert "flagged" not in said(suite)


def test_warnings_come_first():
    warns = [kind.warn for kind in CAVEATS.values()]
    assert warns == sorted(warns, reverse=True)


def test_places_are_a_range():
    rows, _ = rows_of(CONTAINED)
    assert {name: row.place for name, row in rows.items()} == {
        "strong": "1–2",
        "strong-too": "1–2",
        "weak": "3",
        "none": "4",
    }
