"""What cells that differ in the seed alone have in common: whether they can run, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.common.status import Status
from harness.config.benchmark import Matrix
from harness.config.catalog import Module
from harness.config.environments import find_conflict
from harness.config.field_types import Value
from harness.datasets import DataMissing, Datasets
from harness.planning.borrowed import Batch
from harness.planning.cell import CellInfo
from harness.planning.cell_setting import CellSetting
from harness.planning.exclusions import find_exclusion
from harness.planning.hand_over import find_unfit
from harness.planning.requirements import find_remarks, find_unmet
from harness.planning.resolved_entry import HandOver, ResolvedEntry
from harness.planning.stages import StageBuilder


@dataclass(frozen=True, slots=True)
class Combination:
    """What cells that differ in the seed alone have in common.

    Attributes:
        reason: why they cannot be run, or ``None``.
        status: status that they end in then.
        planned: whether their stages are known; also of data that are elsewhere.
        random: whether the network draws as it answers.
        minimal: whether the attack looks for the nearest wrong input.
        modules: reference → digest of the modules in play.
        params: role → resolved parameters.
        members: attacks in order, where each gets what still stands; else empty.
        left_out: label of an attack that cannot be among them → why.
        remarks: what the modules say of themselves on such data.
    """

    reason: str | None
    status: Status
    planned: bool
    random: bool
    minimal: bool
    modules: Mapping[str, str]
    params: Mapping[str, Mapping[str, Value]]
    members: tuple[ResolvedEntry, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Combinations:
    """Combinations of a plan's cells, each made once.

    Args:
        sets: the data sets.
        builder: adds the data stages of matrices.
    """

    def __init__(self, sets: Datasets, builder: StageBuilder) -> None:
        self._sets, self._builder = sets, builder
        self._known: dict[tuple[str, ...], Combination] = {}
        self._conflicts: dict[tuple[str, ...], str | None] = {}
        self._data: dict[str, tuple[bool, str | None]] = {}

    def of(self, s: CellSetting) -> Combination:
        """Return what a cell shares with those of other seeds."""
        labels = (s.victim.label, s.defense.label, s.attacker.label)
        identity = (s.matrix.name, *labels, s.budget.slug)
        if identity not in self._known:
            self._known[identity] = self._make(s)
        return self._known[identity]

    def of_handed(self, s: CellSetting, attack: HandOver) -> Combination:
        """Return what a cell with several attacks in order shares with those of other seeds."""
        identity = (s.matrix.name, s.victim.label, s.defense.label, attack.label, s.budget.slug)
        if identity not in self._known:
            self._known[identity] = self._make_handed(s, attack)
        return self._known[identity]

    def _make_handed(self, s: CellSetting, attack: HandOver) -> Combination:
        """Join the combinations of attacks; one that cannot play is left out."""
        playing, left_out = list[tuple[ResolvedEntry, Combination]](), dict[str, str]()
        for entry in attack.members:
            one = replace(s, attack=entry)
            made, unfit = self._make(one), find_unfit(one)
            if unfit or (made.reason and made.status == "not_applicable"):
                left_out[entry.label] = unfit or made.reason or ""
            else:
                playing.append((entry, made))
        if not playing:
            label, reason = next(iter(left_out.items()))
            why = f"none of its attacks can be played; {label}: {reason}"
            made = self._make(replace(s, attack=attack.members[0]))
            return replace(made, reason=why, status="not_applicable", planned=False)
        first = playing[0][1]
        params = {role: first.params[role] for role in ("victim", "defense")}
        for number, (entry, _) in enumerate(playing, 1):
            params[f"attack_{number}"] = entry.params
        return replace(
            first,
            reason=next((made.reason for _, made in playing if made.reason), None),
            status=next((made.status for _, made in playing if made.reason), first.status),
            planned=all(made.planned for _, made in playing),
            modules={ref: one for _, made in playing for ref, one in made.modules.items()},
            params=params,
            members=tuple(entry for entry, _ in playing),
            left_out=left_out,
            remarks=tuple(dict.fromkeys(text for _, made in playing for text in made.remarks)),
        )

    def _make(self, s: CellSetting) -> Combination:
        # no process runs code of both attack and defence, so that their requirements never meet
        apart = (
            involved_modules(s.victim, other, s.surrogate) for other in (s.defense, s.attacker)
        )
        conflicts = (self._conflict(modules) for modules in apart)
        reason = next(filter(None, conflicts), None) or find_exclusion(s) or find_unmet(s)
        entries = (s.victim, s.defense, s.attacker, s.surrogate)
        modules = involved_modules(*entries)
        status: Status = "not_applicable"
        planned = reason is None
        if planned:
            planned, reason = self._find_data(s.matrix)
            absent = next(filter(None, (one.absent for one in with_adversaries(*entries))), None)
            planned, reason = planned and absent is None, reason or absent
            status = "missing" if reason else status
        roles = {"victim": s.victim, "defense": s.defense, "attack": s.attacker}
        return Combination(
            reason=reason,
            status=status,
            planned=planned,
            random=planned and s.random,
            minimal=planned and s.minimal,
            modules={module.ref: module.digest for module in modules},
            params={role: entry.params for role, entry in roles.items()},
            remarks=tuple(find_remarks(s)),
        )

    def _conflict(self, modules: tuple[Module, ...]) -> str | None:
        """Return why what the modules need cannot be installed together; most need nothing."""
        refs = tuple(module.ref for module in modules)
        if refs not in self._conflicts:
            self._conflicts[refs] = find_conflict(modules)
        return self._conflicts[refs]

    def _find_data(self, matrix: Matrix) -> tuple[bool, str | None]:
        """Return whether the keys of a matrix's data are known, and why they are missing, if so.

        Cells are planned without data, and, where their digest is committed, with their stages, so
        that results of another machine are found.
        """
        if matrix.name not in self._data:
            known, reason = False, None
            try:
                self._builder.add_data(matrix)
                known = True
                for entry in matrix.data.values():
                    self._sets.check_here(entry.name)
            except DataMissing as error:
                # pages publish the reason: no folder of this machine belongs there
                reason = str(error).replace(str(self._sets.root), "the data folder")
            self._data[matrix.name] = known, reason
        return self._data[matrix.name]

    def of_borrowed(self, s: CellSetting, info: CellInfo, batch: Batch) -> Combination:
        """Return what a borrowed cell shares with those of other seeds."""
        identity = (info.matrix, info.victim, info.defense, info.attack, s.budget.slug)
        if identity not in self._known:
            each = [self._make(replace(s, attack=attack)) for attack in batch.attacks]
            modules = involved_modules(s.victim, s.defense, batch.donor, *batch.attacks)
            params = each[0].params
            if batch.chosen:
                params = {role: each[0].params[role] for role in ("victim", "defense")}
            self._known[identity] = replace(
                each[0],
                reason=next((one.reason for one in each if one.reason), None),
                planned=all(one.planned for one in each),
                modules={module.ref: module.digest for module in modules},
                params=params,
            )
        return self._known[identity]


def involved_modules(*entries: ResolvedEntry | None) -> tuple[Module, ...]:
    """Return every module in play, adversaries too, each once."""
    found = [one.module for one in with_adversaries(*entries)]
    return tuple({module.ref: module for module in found}.values())


def with_adversaries(*entries: ResolvedEntry | None) -> list[ResolvedEntry]:
    """Return those entries that there are, each before its adversary."""
    pairs = ((entry, entry.adversary) for entry in entries if entry is not None)
    return [one for pair in pairs for one in pair if one is not None]
