"""Attacks that do no more damage than random changes within the same budget.

A control is a yardstick: an attack that does not exceed it has found nothing by looking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report.blinding import Case
from harness.report.flag_kinds import direction_of
from harness.report.paired_tests import significantly_better
from harness.report.tables import TableFlag

EQUAL, WORSE = "no_better_than_noise", "worse_than_noise"


def flag_noise(cases: Sequence[Case]) -> None:
    """Flag the attacks of each defence that do not do significantly better than a control.

    The test is paired, over the examples of the matrix. Without a control nothing is flagged.
    """
    for case in cases:
        draft = case.draft
        for cell in draft.attacks:
            if cell.score is None or cell.broken:
                continue
            if found := _compare(case, cell.attack):
                name, text = found
                direction = direction_of(name, undefended=draft.group[0].defense_control)
                flag = TableFlag(name, text, cell.attack, direction)
                draft.cells[cell.attack] = replace(cell, flags=(*cell.flags, flag))


def _compare(case: Case, attack: str) -> tuple[str, str] | None:
    """Return the flag of one attack and its text, or ``None``."""
    found = case.left([attack])
    flag = None
    for control in case.random:
        noise = case.left([control])
        if found is None or noise is None:
            continue
        left, than = (f"{one.score.value:.1%}" for one in (found, noise))
        text = f"the attack leaves {left}, the control {control} {than}"
        if significantly_better(found.evidence, noise.evidence):
            return WORSE, text
        if not significantly_better(noise.evidence, found.evidence):
            flag = EQUAL, text
    return flag
