"""Attacks that do no more damage than random changes within the same budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report.blinding import Case
from harness.report.drafts import Draft
from harness.report.flag_kinds import direction_of
from harness.report.tables import TableFlag
from harness.report.worst_case import significantly_better

NAME = "no_better_than_noise"


def flag_noise(drafts: Sequence[Draft]) -> None:
    """Flag the attacks of each defence that do not do significantly better than a control.

    The test is paired, over the examples of the matrix. Without a control nothing is flagged.
    """
    for draft in drafts:
        case = Case(draft)
        for cell in draft.attacks:
            if cell.score is None or cell.broken:
                continue
            text = _no_better(case, cell.attack)
            if text is not None:
                direction = direction_of(NAME, undefended=draft.group[0].defense_control)
                flag = TableFlag(NAME, text, cell.attack, direction)
                draft.cells[cell.attack] = replace(cell, flags=(*cell.flags, flag))


def _no_better(case: Case, attack: str) -> str | None:
    """Return the text of the flag for one attack, or ``None``."""
    found = case.left([attack])
    for control in case.random:
        noise = case.left([control])
        if found is None or noise is None:
            continue
        if not significantly_better(noise.evidence, found.evidence):
            left, than = (f"{one.score.value:.1%}" for one in (found, noise))
            return f"the attack leaves {left}, the control {control} {than}"
    return None
