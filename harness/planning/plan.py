"""Matrix → cells → stages: the whole plan, with keys, before anything runs."""

from __future__ import annotations

import contextlib
import gc
import itertools
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import datasets
from harness.common.errors import UserError, UserErrors
from harness.common.keys import digest, judge_digest
from harness.config.benchmark import Benchmark, Matrix
from harness.config.budget import BudgetEntry
from harness.config.catalog import Catalog, Module
from harness.config.environments import Environments, clash
from harness.config.matrix_entries import Entry
from harness.config.threat import THREATS, By, Status
from harness.judge import METHOD
from harness.planning.applicable import first_unmet, reason_not
from harness.planning.budget_rules import budget_errors
from harness.planning.entry import Subject
from harness.planning.graph import Graph
from harness.planning.stages import Recipes
from harness.planning.weights import recipe_of

Only = Mapping[str, Set[str]]
"""Column → labels: which cells of a benchmark are meant."""


@dataclass(slots=True)
class Cell:
    """One planned number.

    Attributes:
        id: ``benchmark/matrix/victim/defense/attack/budget/seed``, for people and commands.
        info: the record's ``cell`` part. key: names the record: judge, cell and inputs.
        stages: role → stage key, of what the score reads. own: stage keys that the cell's attack or
            defence runs; a failure there is the cell's own status, elsewhere it blocks the cell.
        reason: why the cell cannot be, or ``None``. status: what it ends in then.
        members: cell ids of an ensemble.
        random: the defence or victim says that its answers vary, so they are not compared.
        modules: reference → digest of the modules in play. params: role → resolved parameters.
    """

    id: str
    info: dict[str, Any]
    key: str
    stages: dict[str, str]
    own: frozenset[str] = frozenset()
    reason: str | None = None
    status: Status = "not_applicable"
    members: tuple[str, ...] = ()
    random: bool = False
    modules: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def by(self) -> By | None:
        """What the plan puts its reason down to: a rule, or data that are not at hand."""
        if self.reason is None:
            return None
        return "rule" if self.status == "not_applicable" else "harness"


@dataclass
class Plan:
    """Every cell of a benchmark and the stages behind them."""

    benchmark: Benchmark
    graph: Graph
    cells: dict[str, Cell]
    environments: Environments

    def needed(self, cells: list[Cell]) -> list[str]:
        """Keys of the stages that these cells' scores read."""
        return list(dict.fromkeys(key for cell in cells for key in cell.stages.values()))


def slug(budget: BudgetEntry) -> str:
    """The budget in a cell's id: ``linf-8_255``, ``linf-8_255-queries-100``.

    Letters of the label that have no place in a path or a command become ``-``.
    """
    text = budget.label.replace("L∞", "linf").replace("×", "x").replace("/", "_").lower()
    return re.sub(r"[^a-z0-9_.]+", "-", text).strip("-")


def make_plan(
    benchmark: Benchmark,
    catalog: Catalog,
    data_root: Path,
    only: Only | None = None,
    device: str = "cpu",
    executor: str = "local",
) -> Plan:
    """Plan a benchmark; runs no module code.

    Args:
        benchmark: what to plan. catalog: the modules. data_root: where fetched data lie.
        only: column → labels: plan only cells with one of the labels in each of the columns.
        device: ``cpu`` or ``cuda``; results differ, so keys do.
        executor: where stages will run; what is installed there is in their keys.

    Raises:
        UserErrors: every module, variant or parameter that is named and not there.
        UserError: a label of ``only`` is no planned cell's.
    """
    environments = Environments(catalog, executor, device)
    planner = _Planner(benchmark, environments, data_root, only or {})
    with uncollected():
        return planner.plan()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk a growing plan, all alive, over and over.

    It took 40 % of the time of planning 100,000 cells.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Planner:
    def __init__(
        self,
        benchmark: Benchmark,
        environments: Environments,
        data_root: Path,
        only: Only,
    ) -> None:
        self.benchmark, self.catalog, self.only = benchmark, environments.catalog, only
        self.environments = environments
        self.graph = Graph(environments.device, environments)
        self.recipes = Recipes(self.graph, data_root)
        self.cells: dict[str, Cell] = {}
        self.errors: list[UserError] = []
        self._clashes: dict[tuple[str, ...], str | None] = {}
        self._lacks: dict[str, str | None] = {}
        self._judge = {"judge": judge_digest(), "method": METHOD}

    def plan(self) -> Plan:
        self.errors += budget_errors(self.benchmark)
        for index, matrix in enumerate(self.benchmark.matrices):
            subjects = self._subjects(index, matrix)
            if not self.errors:
                for cell in self._cells(matrix, subjects):
                    self.cells[cell.id] = cell
        if self.errors:
            raise UserErrors(self.errors)
        self._check_only()
        return Plan(self.benchmark, self.graph, self.cells, self.environments)

    def _subjects(self, index: int, matrix: Matrix) -> dict[str, list[Subject]]:
        groups = {"victim": matrix.victims, "defense": matrix.defenses, "attack": matrix.attacks}
        words = {"victim": "victims", "defense": "defenses", "attack": "attacks"}
        found: dict[str, list[Subject]] = {}
        for kind, entries in groups.items():
            found[kind] = []
            for place, entry in enumerate(entries):
                where = self.benchmark.where(("matrices", index, words[kind], place))
                subject = self._subject(kind, entry, where)
                if subject is not None:
                    found[kind].append(subject)
        if matrix.knowledge.surrogate is not None:
            where = self.benchmark.where(("matrices", index, "knowledge"))
            subject = self._subject("victim", matrix.knowledge.surrogate, where)
            found["surrogate"] = [subject] if subject else []
        self._check_budgets(index, matrix)
        for role, data in matrix.data.items():
            try:
                datasets.get(data.name)
            except UserError as error:
                where = self.benchmark.where(("matrices", index, "data", role))
                self.errors.append(UserError(where, error.what, error.fix))
        return found

    def _check_budgets(self, index: int, matrix: Matrix) -> None:
        """Two budgets that read alike would share cell ids, and one's cells would vanish."""
        slugs = [slug(budget) for budget in matrix.budgets]
        for place, budget in enumerate(matrix.budgets):
            if slugs[place] in slugs[:place]:
                where = self.benchmark.where(("matrices", index, "budgets", place))
                what = f"reads like an earlier budget ({budget.label})"
                self.errors.append(UserError(where, what, "keep one, or split the matrix"))

    def _subject(self, kind: str, entry: Entry, where: str) -> Subject | None:
        try:
            module = self.catalog.get(kind, entry.name, where)
            adversary = None
            if entry.adversary is not None:
                attack = self.catalog.get("attack", entry.adversary.attack, where)
                adversary = Subject(
                    attack,
                    attack.manifest.name,
                    attack.manifest.resolve(entry.adversary.variant, entry.adversary.params),
                    budget=entry.adversary.budget.to_json(),
                )
            weights, variant, starts = None, entry.variant, False
            if entry.weights is not None:
                weights = recipe_of(module, entry.weights)
                variant = variant or module.manifest.weights[entry.weights].variant
                starts = module.manifest.weights[entry.weights].start
            params = module.manifest.resolve(variant, entry.params)
        except UserError as error:
            parts = error.errors if isinstance(error, UserErrors) else (error,)
            self.errors += [UserError(where, f"{e.where}: {e.what}", e.fix) for e in parts]
            return None
        return Subject(
            module, entry.label, params, adversary=adversary, weights=weights, starts=starts
        )

    def _cells(self, matrix: Matrix, subjects: dict[str, list[Subject]]) -> Iterator[Cell]:
        ensembles = [Subject.ensemble(name, members) for name, members in matrix.ensembles.items()]
        attacks = [*subjects["attack"], *ensembles]
        for victim, defense, budget, seed in itertools.product(
            subjects["victim"], subjects["defense"], matrix.budgets, matrix.seeds
        ):
            infos = [
                self._info(matrix, victim, defense, attack, budget, seed) for attack in attacks
            ]
            chosen = {info["attack"] for info in infos if self._chosen(info)}
            # an ensemble is judged from its members, so they come with it
            chosen |= {m for one in ensembles if one.label in chosen for m in one.members}
            for attack, info in zip(attacks, infos, strict=True):
                if attack.label not in chosen:
                    continue
                surrogate = next(iter(subjects.get("surrogate", [])), None)
                yield self._cell(matrix, victim, defense, attack, budget, seed, info, surrogate)

    def _clash(self, *subjects: Subject | None) -> str | None:
        """Why what these modules need cannot be installed together; most need nothing."""
        modules = involved(*subjects)
        refs = tuple(module.ref for module in modules)
        if refs not in self._clashes:
            self._clashes[refs] = clash(modules)
        return self._clashes[refs]

    def _lacking(self, matrix: Matrix) -> str | None:
        """Why the matrix's data are not there: one cannot run it, yet its cells are planned."""
        if matrix.name not in self._lacks:
            self._lacks[matrix.name] = None
            try:
                for role in matrix.data:
                    self.recipes.data(matrix, role)
            except datasets.DataMissing as error:
                # published pages show it: nobody's folders belong there
                root = str(self.recipes.data_root)
                self._lacks[matrix.name] = str(error).replace(root, "the data folder")
        return self._lacks[matrix.name]

    def _chosen(self, info: dict[str, Any]) -> bool:
        return all(str(info.get(column)) in labels for column, labels in self.only.items())

    def _check_only(self) -> None:
        """Each label must be some chosen cell's: a misspelt one must not run as less."""
        for column, labels in self.only.items():
            found = {str(cell.info.get(column)) for cell in self.cells.values()}
            if lost := sorted(labels - found):
                where = f"--only {column}={lost[0]}"
                raise UserError(where, "no cell of the plan matches", "see gauntlet plan")

    def _info(
        self,
        matrix: Matrix,
        victim: Subject,
        defense: Subject,
        attack: Subject,
        budget: BudgetEntry,
        seed: int,
    ) -> dict[str, Any]:
        return {
            "benchmark": self.benchmark.name,
            "matrix": matrix.name,
            "task": datasets.get(matrix.data["student"].name).task,
            "threat_model": matrix.threat_model,
            "victim": victim.label,
            "defense": defense.label,
            "attack": attack.label,
            "defense_module": defense.name,
            "attack_module": attack.name,
            "budget": budget.to_json(),
            "budget_label": budget.label,
            "goal": matrix.goal.label,
            "knowledge": matrix.knowledge.label,
            "data": {role: entry.name for role, entry in matrix.data.items()},
            "seed": seed,
        }

    def _cell(
        self,
        matrix: Matrix,
        victim: Subject,
        defense: Subject,
        attack: Subject,
        budget: BudgetEntry,
        seed: int,
        info: dict[str, Any],
        surrogate: Subject | None,
    ) -> Cell:
        labels = (victim.label, defense.label, attack.label)
        cell_id = "/".join(
            [
                self.benchmark.name,
                matrix.name,
                *(label.replace("/", ".") for label in labels),
                slug(budget),
                f"s{seed}",
            ]
        )
        if attack.members:
            prefix, _, tail = cell_id.rpartition(f"/{attack.label}/")
            members = tuple(f"{prefix}/{m.replace('/', '.')}/{tail}" for m in attack.members)
            key = digest(
                [self._judge, info, [self.cells[m].key for m in members if m in self.cells]]
            )
            return Cell(cell_id, info, key, {}, members=members)
        assert attack.module
        assert victim.module
        assert defense.module
        reason = self._clash(victim, defense, attack, surrogate) or reason_not(
            threat=THREATS[matrix.threat_model],
            task=info["task"],
            victim=victim.module.manifest,
            defense=defense.module.manifest,
            attack=attack.module.manifest,
            defense_label=defense.label,
            same_labels="public" not in matrix.data or surrogate is not None,
            least_likely=matrix.goal.targeted == "least_likely",
            given=victim.given,
        )
        reason = reason or first_unmet(matrix, budget, victim, defense, attack, surrogate)
        modules = modules_of(victim, defense, attack, surrogate)
        params = {"victim": victim.params, "defense": defense.params, "attack": attack.params}
        status: Status = "not_applicable"
        if reason is None and (reason := self._lacking(matrix)):
            status = "missing"
        if reason is not None:
            return Cell(
                cell_id,
                info,
                digest([self._judge, info, reason]),
                {},
                reason=reason,
                status=status,
                modules=modules,
                params=params,
            )
        stages, own = self.recipes.cell(
            matrix, victim, defense, attack, surrogate, budget.to_json(), seed
        )
        return Cell(
            cell_id,
            info,
            digest([self._judge, info, stages]),
            stages,
            own,
            random=defense.module.manifest.random or victim.module.manifest.random,
            modules=modules,
            params=params,
        )


def involved(*subjects: Subject | None) -> tuple[Module, ...]:
    """Every module in play, adversaries too, each once."""
    found = [
        one.module
        for subject in subjects
        for one in (subject, subject.adversary if subject else None)
        if one is not None and one.module is not None
    ]
    return tuple({module.ref: module for module in found}.values())


def modules_of(*subjects: Subject | None) -> dict[str, str]:
    """Reference → digest of every module in play."""
    return {module.ref: module.digest for module in involved(*subjects)}
