"""Signs that a defence blinds attacks instead of resisting them, and what they do to its rank.

The first five are those of obfuscated gradients (Athalye, Carlini and Wagner, ICML 2018, section
3.1). Each compares what was measured on the same examples: a difference counts if it is larger than
``POINTS`` and significant over the examples. Where its data are missing, a sign is not looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from harness.config.threat import THREATS
from harness.judge.flags import POINTS
from harness.report import gradient_signs
from harness.report.cells import CellRow
from harness.report.drafts import Draft
from harness.report.flag_kinds import Direction, direction_of
from harness.report.paired_tests import significantly_better
from harness.report.resisting import resisting
from harness.report.tables import TableFlag
from harness.report.worst_case import Worst

MANY = 2.0
"""Backward passes an example above which an attack takes more than one step."""

LEVEL = 0.03
"""How far a robust score may lie above that of the same network without the guard, even where the
difference is not significant, for a sign to be set aside."""


class Case:
    """What was measured of one defence.

    Args:
        draft: the defence.

    Attributes:
        draft: the defence.
        planned: its cells, without those on borrowed inputs.
        gradient: labels of its attacks that follow gradients.
        one_step: those of them with one step.
        many_steps: those of them with several.
        asking: labels of attacks that only ask, in other matrices too.
        borrowed: labels of inputs that were made against other defences.
        random: labels of random changes.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.rows = {row.attack: row for row in draft.group if row.attack in draft.own}
        examples = next((o.size for run in draft.own.values() for o in run.values()), 1)
        self.planned = [row for row in draft.group if not row.made_against]
        ours = {label: row for label, row in self.rows.items() if not row.made_against}
        played = {label: _passes(row) for label, row in ours.items() if not row.attack_control}
        self.gradient = [label for label, passes in played.items() if passes.get("backward")]
        steps = {label: _steps(ours[label], examples) for label in self.gradient}
        self.one_step = [label for label in self.gradient if steps[label] <= 1]
        self.many_steps = [label for label in self.gradient if steps[label] > MANY]
        self.asking = [
            label
            for label, passes in played.items()
            if passes.get("forward") and not passes.get("backward")
        ]
        self.asking += [x for x, row in draft.sources.items() if row.access == "oracle"]
        self.borrowed = [label for label, row in self.rows.items() if row.made_against]
        self.random = [label for label, row in ours.items() if row.attack_control]
        self._known: dict[frozenset[str], Worst | None] = {}

    def left(self, labels: Collection[str]) -> Worst | None:
        """Return what the joint worst case of some attacks leaves, or ``None`` without results.

        In a targeted matrix these are the examples that are not made their target.
        """
        key = frozenset(labels)
        if key not in self._known:
            known = self.draft.own | self.draft.elsewhere
            runs = {label: known.get(label, {}) for label in labels}
            headline = self.draft.headline
            self._known[key] = resisting(runs, headline.rule, headline.kept)
        return self._known[key]

    def beats(self, one: str, others: Sequence[str]) -> tuple[float, float] | None:
        """Return what one attack and what others leave, where the one leaves less; else ``None``.

        The difference is larger than ``POINTS`` and significant.
        """
        first, second = self.left([one]), self.left(others)
        if first is None or second is None:
            return None
        gain = second.score.value - first.score.value
        found = gain > POINTS and significantly_better(second.evidence, first.evidence)
        return (first.score.value, second.score.value) if found else None

    def smaller(self) -> dict[str, list[str]]:
        """Return budget → labels of the same gradient attacks at smaller radii."""
        found: dict[str, list[str]] = {}
        for label, row in self.draft.sources.items():
            if row.matrix == self.draft.group[0].matrix and row.attack in self.gradient:
                found.setdefault(row.budget, []).append(label)
        return found


def one_step_beats_many(case: Case) -> tuple[str, str] | None:
    """Return the text and the attack of the sign, or ``None``."""
    for one in case.one_step:
        if case.many_steps and (left := case.beats(one, case.many_steps)):
            text = "one step does better than many: {} leaves {}, attacks of many steps {}"
            return text.format(one, *map(_percent, left)), one
    return None


def others_beat_gradients(case: Case, labels: Sequence[str], what: str) -> tuple[str, str] | None:
    """Return text and attack of the first that does better than all gradient attacks together."""
    for label in labels:
        if case.gradient and (left := case.beats(label, case.gradient)):
            text = "{} does better than gradients: {} leaves {}, all gradient attacks together {}"
            return text.format(what, label, *map(_percent, left)), label
    return None


def query_beats_gradients(case: Case) -> tuple[str, str] | None:
    """Return the text and the attack of the sign, or ``None``."""
    return others_beat_gradients(case, case.asking, "a search without gradients")


def borrowed_beats_gradients(case: Case) -> tuple[str, str] | None:
    """Return the text and the attack of the sign, or ``None``."""
    what = "an input made against another defence, or with its change shrunk,"
    return others_beat_gradients(case, case.borrowed, what)


def random_beats_gradients(case: Case) -> tuple[str, str] | None:
    """Return the text and the attack of the sign, or ``None``."""
    return others_beat_gradients(case, case.random, "random change")


def success_falls_with_radius(case: Case) -> tuple[str, str] | None:
    """Return the text and the attack of the sign, or ``None``."""
    here = case.left(case.gradient) if case.gradient else None
    for budget, labels in case.smaller().items():
        less = case.left(labels)
        if here is None or less is None:
            continue
        gain = here.score.value - less.score.value
        if gain > POINTS and significantly_better(here.evidence, less.evidence):
            text = "a smaller radius does better: gradient attacks leave {} at {}, {} here"
            left = _percent(less.score.value), budget, _percent(here.score.value)
            return text.format(*left), case.gradient[0]
    return None


def in_gradients(name: str) -> Callable[[Case], tuple[str, str] | None]:
    """Return the function that looks for a sign in the health of gradients."""
    return lambda case: gradient_signs.find(name, case.planned, case.gradient)


SIGNS: Mapping[str, Callable[[Case], tuple[str, str] | None] | None] = {
    "one_step_beats_many": one_step_beats_many,
    "query_beats_gradients": query_beats_gradients,
    "borrowed_beats_gradients": borrowed_beats_gradients,
    "random_beats_gradients": random_beats_gradients,
    "success_falls_with_radius": success_falls_with_radius,
    "unlimited_attack_fails": in_gradients("unlimited_attack_fails"),
    "gradients_vanish": in_gradients("gradients_vanish"),
    "gradients_mislead": in_gradients("gradients_mislead"),
    "different_under_attack": None,
    "lost_gradients": None,
    "undeclared_random": None,
    "batch_dependent": None,
}
"""THE table of signs of blinding: name → where it is looked for, ``None`` where a flag of a single
record is the sign. What they mean stands in ``flag_kinds.FLAG_KINDS``."""


def judge_signs(cases: Sequence[Case]) -> None:
    """Find the signs of blinding of each defence, and say which of them keep it from a rank.

    A sign is set aside where the strongest case leaves no more than of the same network without
    the guard: then nothing is left to doubt.
    """
    drafts = [case.draft for case in cases]
    undefended = next((d for d in drafts if d.group[0].defense_control), None)
    for case, draft in zip(cases, drafts, strict=True):
        if not THREATS[draft.group[0].threat_model].borrows or draft.worst is None:
            continue
        draft.signs = find_signs(case)
        same = undefended is not None and _network(undefended) == _network(draft)
        draft.blinded = bool(draft.signs) and not (
            same and undefended is not None and not _better(draft, undefended)
        )
        if not draft.blinded:
            _set_aside(draft)


def _set_aside(draft: Draft) -> None:
    """Make the signs of a defence that is ranked all the same information, in its cells too."""

    def told(flag: TableFlag) -> TableFlag:
        return replace(flag, direction=Direction.INFORMATION) if flag.name in SIGNS else flag

    draft.signs = tuple(map(told, draft.signs))
    for attack, cell in draft.cells.items():
        draft.cells[attack] = replace(cell, flags=tuple(map(told, cell.flags)))


def find_signs(case: Case) -> tuple[TableFlag, ...]:
    """Return the signs of blinding of one defence."""
    found = [
        TableFlag(name, *seen, direction_of(name))
        for name, look in SIGNS.items()
        if look is not None and (seen := look(case)) is not None
    ]
    recorded = {
        flag.name: flag
        for cell in case.draft.cells.values()
        if not cell.made_against
        for flag in cell.flags
        if flag.name in SIGNS
    }
    return (*found, *recorded.values())


def _better(draft: Draft, other: Draft) -> bool:
    if draft.worst is None or other.worst is None:
        return True
    # few examples make no difference significant: dropout that was left on left 34 % of 100, the
    # same network without it 25 %; cheats whose strongest case is another's batch lie 1 point apart
    sign = draft.headline.sign
    above = sign * (draft.worst.score.value - other.worst.score.value) > LEVEL
    return above or significantly_better(draft.worst.evidence, other.worst.evidence)


def _network(draft: Draft) -> frozenset[tuple[int, str]]:
    """Return seed and key of the network behind each cell with a record."""
    return frozenset(
        (row.seed, row.record.stages["network"])
        for row in draft.group
        if row.record and "network" in row.record.stages
    )


def _passes(row: CellRow) -> Mapping[str, int]:
    """Return the passes of a cell's attack; none of several in order that differ in kind."""
    record = row.record
    if record is None:
        return {}
    asked = [
        record.cost.get(f"attack_{number}", {}).get("backward")
        for number, one in enumerate(record.handed or (), 1)
        if one.examples
    ]
    return record.cost.get("attack", {}) if all(asked) else {}


def _steps(row: CellRow, examples: int) -> float:
    """Return the backward passes an example; the mean over draws of a random network is one."""
    asked = ((row.record.health if row.record else None) or {}).get("backward_passes")
    return float(asked) if asked is not None else _passes(row)["backward"] / examples


def _percent(value: float) -> str:
    return f"{value:.1%}"
