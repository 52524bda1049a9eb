"""Names in a matrix → modules with parameters; every mistake is collected with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.common.errors import UserError, split
from harness.config.benchmark import Benchmark, Matrix
from harness.config.budget import BudgetEntry
from harness.config.catalog import Catalog, Module
from harness.config.field_types import Value, Values
from harness.config.matrix_entries import Adversary, Entry
from harness.config.strict_yaml import Loc
from harness.datasets import Datasets
from harness.planning.cell_setting import CellBudget
from harness.planning.file_params import OwnFiles, take_files
from harness.planning.resolved_entry import HandOver, ResolvedEntry
from harness.planning.weights import network_of, weights_recipe


@dataclass(frozen=True, slots=True)
class ResolvedMatrix:
    """Matrix whose names are resolved; what could not be is left out, and reported.

    Attributes:
        victims: the victims.
        defenses: the defences.
        attacks: the attacks, without ensembles.
        hand_overs: the ensembles whose attacks are handed what still stands.
        budgets: the budgets.
        surrogate: the network that the attacker trains, or ``None``.
    """

    victims: list[ResolvedEntry]
    defenses: list[ResolvedEntry]
    attacks: list[ResolvedEntry]
    hand_overs: list[HandOver]
    budgets: list[CellBudget]
    surrogate: ResolvedEntry | None


class Resolver:
    """Resolves the matrices of a benchmark and collects what is wrong with them.

    Args:
        benchmark: the benchmark, which knows the places of its keys.
        catalog: the modules.
        sets: the data sets.
    """

    def __init__(self, benchmark: Benchmark, catalog: Catalog, sets: Datasets) -> None:
        self.benchmark, self.catalog, self.sets = benchmark, catalog, sets
        self.errors: list[UserError] = []

    def resolve(self, index: int, matrix: Matrix) -> ResolvedMatrix:
        """Return a matrix with its modules; mistakes are added to ``errors``."""
        at: Loc = ("matrices", index)
        victims = self._entries("victim", matrix.victims, (*at, "victims"))
        defenses = self._entries("defense", matrix.defenses, (*at, "defenses"))
        attacks = self._entries("attack", matrix.attacks, (*at, "attacks"))
        hand_overs = self._hand_overs(matrix, (*at, "ensembles"))
        surrogate = None
        if matrix.knowledge.surrogate is not None:
            surrogate = self._entry("victim", matrix.knowledge.surrogate, (*at, "knowledge"))
        budgets = self._budgets(matrix, at)
        self._check_released(matrix, victims, defenses, at)
        self._check_public(matrix, victims, at)
        self._check_data(matrix, at)
        return ResolvedMatrix(victims, defenses, attacks, hand_overs, budgets, surrogate)

    def _entries(self, kind: str, entries: tuple[Entry, ...], at: Loc) -> list[ResolvedEntry]:
        found = (self._entry(kind, entry, (*at, place)) for place, entry in enumerate(entries))
        return [entry for entry in found if entry is not None]

    def _hand_overs(self, matrix: Matrix, at: Loc) -> list[HandOver]:
        return [
            HandOver(name, tuple(self._entries("attack", one.hand_over, (*at, name, "hand_over"))))
            for name, one in matrix.ensembles.items()
            if one.hand_over is not None
        ]

    def _entry(self, kind: str, entry: Entry, at: Loc) -> ResolvedEntry | None:
        """Return an entry with its module, or ``None`` after noting what is wrong with it."""
        where = self.benchmark.where(at)
        try:
            module = self.catalog.get(kind, entry.name, where)
            adversary = None
            if entry.adversary is not None:
                adversary = self._adversary(entry.adversary, (*at, "adversary"))
            weights, variant, fine_tunes = None, entry.variant, False
            released = entry.weights if kind == "defense" else None
            if entry.weights is not None and released is None:
                weights = weights_recipe(module, entry.weights)
                variant = variant or module.manifest.weights[entry.weights].variant
                fine_tunes = module.manifest.weights[entry.weights].start
            params = module.manifest.resolve(variant, entry.params)
            own = self._own_files(module, entry.params, params, at)
        except UserError as error:
            self.errors += [_placed(one, where) for one in split(error)]
            return None
        return ResolvedEntry(
            module,
            entry.label,
            own.params,
            adversary=adversary,
            weights=weights,
            fine_tunes=fine_tunes,
            released=released,
            files=own.files,
            absent=own.absent,
        )

    def _adversary(self, adversary: Adversary, at: Loc) -> ResolvedEntry:
        attack = self.catalog.get("attack", adversary.attack, self.benchmark.where(at[:-1]))
        params = attack.manifest.resolve(adversary.variant, adversary.params)
        own = self._own_files(attack, adversary.params, params, at)
        return ResolvedEntry(
            attack,
            attack.manifest.name,
            own.params,
            budget=adversary.budget.to_json(),
            files=own.files,
            absent=own.absent,
        )

    def _own_files(
        self, module: Module, given: Values, params: Mapping[str, Value], at: Loc
    ) -> OwnFiles:
        places = {name: self.benchmark.where((*at, "params", name)) for name in given}
        found = take_files(self.benchmark.folder, module, params, places)
        self.errors += found.errors
        return found

    def _budgets(self, matrix: Matrix, at: Loc) -> list[CellBudget]:
        """Return the budgets; two with one id would share cells, and one's would vanish."""
        found: list[CellBudget] = []
        for place, entry in enumerate(matrix.budgets):
            budget = CellBudget(entry, entry.to_json(), entry.label, budget_slug(entry))
            if budget.slug in [earlier.slug for earlier in found]:
                where = self.benchmark.where((*at, "budgets", place))
                what = f"has the id of an earlier budget ({budget.label})"
                self.errors.append(UserError(where, what, "keep one, or split the matrix"))
            found.append(budget)
        return found

    def _check_released(
        self, matrix: Matrix, victims: list[ResolvedEntry], defenses: list[ResolvedEntry], at: Loc
    ) -> None:
        """Check that each victim has the weights that entries of defences name."""
        resolved = {defense.label: defense for defense in defenses}
        for place, entry in enumerate(matrix.defenses):
            if entry.label not in resolved:
                continue  # what is wrong with it is known
            where = self.benchmark.where((*at, "defenses", place))
            for victim in victims:
                try:
                    network_of(victim, resolved[entry.label])
                except UserError as error:
                    self.errors.append(_placed(error, where))
                    break

    def _check_public(self, matrix: Matrix, victims: list[ResolvedEntry], at: Loc) -> None:
        """Check that each victim starts from weights where they are the public network."""
        if "public" in matrix.data or not matrix.needs_public:
            return
        resolved = {victim.label: victim for victim in victims}
        for place, entry in enumerate(matrix.victims):
            if entry.label in resolved and not resolved[entry.label].fine_tunes:
                where = self.benchmark.where((*at, "victims", place))
                what = "no public network: no public data, and no weights that training starts from"
                fix = "add public: NAME to data, or weights whose manifest says start: true"
                self.errors.append(UserError(where, what, fix))

    def _check_data(self, matrix: Matrix, at: Loc) -> None:
        for role, data in matrix.data.items():
            try:
                self.sets.get(data.name)
            except UserError as error:
                where = self.benchmark.where((*at, "data", role))
                self.errors.append(UserError(where, error.what, error.fix))


def _placed(error: UserError, where: str) -> UserError:
    """Return an error with its place in the benchmark, once."""
    if error.where == where:
        return error
    return UserError(where, f"{error.where}: {error.what}", error.fix)


def budget_slug(budget: BudgetEntry) -> str:
    """Return the budget in a cell's id: ``linf-8_255``, ``linf-8_255-queries-100``.

    Letters of the label that have no place in a path or a command become ``-``.
    """
    text = budget.short_label.replace("L∞", "linf").replace("×", "x").replace("/", "_").lower()
    return re.sub(r"[^a-z0-9_.]+", "-", text).strip("-")
