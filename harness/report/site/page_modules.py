"""Modules behind a page: the folders of its labels, and what ``gauntlet check`` says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.config.threat import CONTROLS
from harness.report.cells import CellRow


def check_states(ran: Iterable[CellRow]) -> dict[str, tuple[str, ...]]:
    """Return state of ``gauntlet check`` → modules; of two digests of a module the worse counts."""
    states: dict[str, set[str]] = {}
    for line in ran:
        for module, check in line.checks.items():
            states.setdefault(module, set()).add(check.state)
    worst = {
        module: next(state for state in ("failed", "unchecked", "passed") if state in found)
        for module, found in states.items()
    }
    return {
        state: tuple(sorted(module for module, found in worst.items() if found == state))
        for state in ("passed", "failed", "unchecked")
    }


def orders_of(planned: Iterable[CellRow]) -> dict[str, str]:
    """Return label → sentence, of attacks that are several in order."""
    found: dict[str, str] = {}
    for line in planned:
        if line.record and line.record.handed:
            labels = ", ".join(one.attack for one in line.record.handed)
            found[line.attack] = f"In order, each on the examples that still stand: {labels}."
    return found


def families_of(
    planned: Iterable[CellRow], modules: Mapping[str, str], known: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return label of an attack → its families: one, or those of several in order.

    Args:
        planned: cells of a matrix.
        modules: label → folder of its module.
        known: folder of a module → its family.
    """
    found: dict[str, tuple[str, ...]] = {
        label: (known[ref],) for label, ref in modules.items() if ref in known
    }
    for line in planned:
        if line.record and line.record.handed:
            refs = (f"attacks/{one.module}" for one in line.record.handed)
            found[line.attack] = tuple(dict.fromkeys(known[ref] for ref in refs if ref in known))
    return found


def modules_of(planned: Iterable[CellRow]) -> dict[str, str]:
    """Return label → folder of its module, from the records where there are any."""
    found: dict[str, str] = {}
    for line in planned:
        cell = line.record.cell if line.record else None
        for folder, label, module in (
            ("defenses", line.defense, cell and cell.defense_module),
            ("attacks", line.attack, cell and cell.attack_module),
            ("victims", line.victim, None),
        ):
            if folder == "defenses" and line.weights and module in CONTROLS["defense"]:
                continue  # the summary of the control is not true of a released network
            if module or label not in found:
                found[label] = f"{folder}/{module or label.split('/')[0]}"
    return found
