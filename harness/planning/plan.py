"""Plan of a benchmark: matrices → cells → stages, all with their keys, before anything runs."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

from harness.common.errors import UserError, UserErrors
from harness.common.keys import digest, judge_digest
from harness.config.benchmark import Benchmark, Matrix
from harness.config.catalog import Catalog
from harness.config.environments import Environments
from harness.config.manifest_weights import Weights
from harness.config.threat import CONTROLS, THREATS
from harness.datasets import Datasets
from harness.judge import METHOD
from harness.planning.attack_floor import find_thin
from harness.planning.borrowed import Batch, batches_of
from harness.planning.budget_rules import budget_errors
from harness.planning.cell import Cell, CellInfo
from harness.planning.cell_setting import CellBudget, CellSetting, MatrixContext
from harness.planning.combinations import Combinations
from harness.planning.graph import Graph
from harness.planning.resolve import ResolvedMatrix, Resolver
from harness.planning.resolved_entry import Ensemble, HandOver, ResolvedEntry
from harness.planning.stages import CellStages, StageBuilder
from harness.planning.weights import network_of

__all__ = ["Cell", "Only", "Plan", "make_plan"]

Only = Mapping[str, Set[str]]
"""Column → labels: the cells of a benchmark that are planned."""


@dataclass
class Plan:
    """Every cell of a benchmark and the stages behind them.

    Attributes:
        benchmark: the benchmark.
        graph: the stages.
        cells: id → cell.
        environments: the environment of each stage.
        thin: matrix → kinds of attacks that it lacks (``attack_floor.KINDS``); only thin ones.
        shared: matrix → what of its data is in two splits, as a sentence; only
            those with such data.
        approximate: names of the defences that declare approximate gradients.
        sets: the data sets that its matrices may name.
        released: ``VICTIM/WEIGHTS`` → what manifests say of it, of the weights that are rows.
    """

    benchmark: Benchmark
    graph: Graph
    cells: dict[str, Cell]
    environments: Environments
    thin: Mapping[str, tuple[str, ...]]
    approximate: frozenset[str]
    sets: Datasets
    released: Mapping[str, Weights] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    def needed(self, cells: list[Cell]) -> list[str]:
        """Return the keys of the stages that these cells' scores read."""
        return list(dict.fromkeys(key for cell in cells for key in cell.stages.values()))


def make_plan(
    benchmark: Benchmark,
    catalog: Catalog,
    sets: Datasets,
    only: Only | None = None,
    device: str = "cpu",
    executor: str = "local",
) -> Plan:
    """Plan a benchmark without running module code.

    Args:
        benchmark: the benchmark.
        catalog: the modules.
        sets: the data sets of the checkout; those that the benchmark names by path are added.
        only: column → labels; only cells with one of the labels in each column are planned.
        device: ``cpu`` or ``cuda``; results differ, so keys do.
        executor: where stages will run; what is installed there is in their keys.

    Raises:
        UserErrors: every module, variant or parameter that does not exist.
        UserError: no planned cell has a label of ``only``.
    """
    environments = Environments(catalog, executor, device)
    sets = sets.including(benchmark.own_data)
    planner = _Planner(benchmark, environments, sets, only or {})
    with pause_garbage_collection():
        return planner.plan()


@contextlib.contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Pause the garbage collector, which would walk a growing plan, all alive, over and over.

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
    """Plans the cells of a benchmark, matrix by matrix."""

    def __init__(
        self,
        benchmark: Benchmark,
        environments: Environments,
        sets: Datasets,
        only: Only,
    ) -> None:
        self.benchmark, self.only, self.sets = benchmark, only, sets
        self.environments = environments
        self.graph = Graph(environments.device, environments)
        self.builder = StageBuilder(self.graph, sets, benchmark.folder)
        self.resolver = Resolver(benchmark, environments.catalog, sets)
        self.cells: dict[str, Cell] = {}
        self.thin: dict[str, tuple[str, ...]] = {}
        self.approximate: set[str] = set()
        self.released: dict[str, Weights] = {}
        self._combinations = Combinations(sets, self.builder)
        self._judge = {"judge": judge_digest(), "method": METHOD}

    def plan(self) -> Plan:
        errors = budget_errors(self.benchmark, self.sets)
        for index, matrix in enumerate(self.benchmark.matrices):
            entries = self.resolver.resolve(index, matrix)
            if not errors and not self.resolver.errors:
                self.approximate |= {
                    one.name for one in entries.defenses if one.manifest.gradients == "approximate"
                }
                self.released |= {
                    f"{victim.name}/{one.released}": victim.manifest.weights[one.released]
                    for victim, one in itertools.product(entries.victims, entries.defenses)
                    if one.released is not None
                }
                for level in matrix.levels:
                    self._plan_matrix(level, entries)
        if errors or self.resolver.errors:
            raise UserErrors([*errors, *self.resolver.errors])
        self._check_only()
        return Plan(
            self.benchmark,
            self.graph,
            self.cells,
            self.environments,
            self.thin,
            frozenset(self.approximate),
            self.sets,
            self.released,
            {one.name: said for one in self.benchmark.planned if (said := self._shared(one))},
        )

    def _plan_matrix(self, matrix: Matrix, entries: ResolvedMatrix) -> None:
        """Plan the cells of a matrix with one amount of training data."""
        context = MatrixContext.of(matrix, self.sets, entries.surrogate)
        for cell in self._cells(context, entries):
            self.cells[cell.id] = cell
        for cell in self._borrowed_cells(context, entries):
            self.cells[cell.id] = cell
        if kinds := find_thin(context, entries):
            self.thin[matrix.name] = kinds

    def _shared(self, matrix: Matrix) -> str:
        """Return what of a matrix's data is in two splits."""
        names = dict.fromkeys(entry.name for entry in matrix.data.values())
        found = {name: said for name in names if (said := self.sets.shared(name))}
        several = len(names) > 1
        return "; ".join(f"{name}: {said}" if several else said for name, said in found.items())

    def _cells(self, context: MatrixContext, entries: ResolvedMatrix) -> Iterator[Cell]:
        matrix = context.matrix
        ensembles = [
            Ensemble(name, one.members) for name, one in matrix.ensembles.items() if one.members
        ]
        tried: list[ResolvedEntry | HandOver] = [*entries.attacks, *entries.hand_overs]
        attacks = [*tried, *ensembles]
        for victim, defense, budget, seed in itertools.product(
            entries.victims, entries.defenses, entries.budgets, matrix.seeds
        ):
            network = network_of(victim, defense)
            control = CellSetting(context, network, defense, None, budget, seed)
            infos = {attack.label: self._info(control, attack) for attack in attacks}
            planned = {label for label, info in infos.items() if self._in_only(info)}
            # an ensemble is judged from its members, so they come with it
            planned |= {m for one in ensembles if one.label in planned for m in one.members}
            for attack in tried:
                if attack.label in planned:
                    yield self._attack_cell(control, attack, infos[attack.label])
            for ensemble in ensembles:
                if ensemble.label in planned:
                    yield self._ensemble_cell(infos, ensemble, budget)

    def _borrowed_cells(self, context: MatrixContext, entries: ResolvedMatrix) -> Iterator[Cell]:
        """Yield the cells of defences that meet inputs made against another one."""
        matrix = context.matrix
        if matrix.borrow == "none" or not THREATS[matrix.threat_model].borrows:
            return
        attacks: list[ResolvedEntry | HandOver] = [
            *(one for one in entries.attacks if one.name not in CONTROLS["attack"]),
            *entries.hand_overs,
        ]
        for victim, budget, seed in itertools.product(
            entries.victims, entries.budgets, matrix.seeds
        ):
            settings = [
                CellSetting(context, network_of(victim, defense), defense, None, budget, seed)
                for defense in entries.defenses
            ]
            cells = [[self._tried(s, attack) for attack in attacks] for s in settings]
            batches = [
                batch
                for s, made in zip(settings, cells, strict=True)
                for batch in batches_of(self.graph, s, made, matrix.borrow)
            ]
            for s, made in zip(settings, cells, strict=True):
                own = {cell.stages.get("attack") for _, cell in made}
                for batch in batches:
                    # an attack that holds no network makes the same inputs for every defence
                    if batch.is_for(s.defense) and batch.attacked.key not in own:
                        yield from self._borrowed_cell(s, batch)

    def _tried(
        self, s: CellSetting, attack: ResolvedEntry | HandOver
    ) -> tuple[ResolvedEntry | HandOver, Cell]:
        """Return an attack, without those that cannot be among several, and its cell.

        The cell is a planned one, or one whose inputs are only borrowed.
        """
        info = self._info(s, attack)
        planned = self.cells.get(cell_id(info, s.budget))
        cell = planned or self._attack_cell(s, attack, info)
        if isinstance(attack, HandOver):
            playing = tuple(one for one in attack.members if one.label in cell.handed)
            attack = replace(attack, members=playing)
        return attack, cell

    def _borrowed_cell(self, s: CellSetting, batch: Batch) -> Iterator[Cell]:
        lender = batch.lender(s.defense)
        info = replace(self._info(s, batch), attack=f"{batch.label}@{lender}", made_against=lender)
        shared = self._combinations.of_borrowed(s, info, batch)
        if not shared.planned or not self._in_only(info):
            return
        stages, own, _ = self.builder.borrow(s, batch)
        yield Cell(
            cell_id(info, s.budget),
            info,
            digest([self._judge, info.to_json(), stages]),
            stages,
            own,
            reason=shared.reason,
            status=shared.status,
            random=shared.random,
            modules=shared.modules,
            params=shared.params,
        )

    def _in_only(self, info: CellInfo) -> bool:
        return all(info.labels(column) & labels for column, labels in self.only.items())

    def _check_only(self) -> None:
        """Refuse a label that no planned cell has: a misspelt one must not run as less."""
        for column, labels in self.only.items():
            found = {one for cell in self.cells.values() for one in cell.info.labels(column)}
            if unknown := sorted(labels - found):
                where = f"--only {column}={unknown[0]}"
                raise UserError(where, "no cell of the plan matches", "see gauntlet plan")

    def _info(
        self, s: CellSetting, attack: ResolvedEntry | HandOver | Ensemble | Batch
    ) -> CellInfo:
        return CellInfo(
            benchmark=self.benchmark.name,
            matrix=s.matrix.name,
            task=s.context.task,
            threat_model=s.matrix.threat_model,
            victim=s.victim.label,
            defense=s.defense.label,
            attack=attack.label,
            defense_module=s.defense.name,
            attack_module=attack.name,
            budget=s.budget.values,
            budget_label=s.budget.label,
            goal=s.context.goal,
            knowledge=s.context.knowledge,
            data=s.context.data,
            seed=s.seed,
            weights=s.victim.weights.name if s.defense.released and s.victim.weights else None,
        )

    def _ensemble_cell(
        self, infos: Mapping[str, CellInfo], ensemble: Ensemble, budget: CellBudget
    ) -> Cell:
        info = infos[ensemble.label]
        members = tuple(cell_id(infos[label], budget) for label in ensemble.members)
        keys = [self.cells[member].key for member in members]
        key = digest([self._judge, info.to_json(), keys])
        return Cell(cell_id(info, budget), info, key, {}, members=members)

    def _attack_cell(
        self, s: CellSetting, attack: ResolvedEntry | HandOver, info: CellInfo
    ) -> Cell:
        if isinstance(attack, HandOver):
            shared = self._combinations.of_handed(s, attack)
            members = [replace(s, attack=entry) for entry in shared.members]
            setting = members[0] if members else s
        else:
            setting, members = replace(s, attack=attack), []
            shared = self._combinations.of(setting)
        stages, own, absent = CellStages({}, frozenset())
        if shared.planned:
            stages, own, absent = self.builder.build(setting, members)
        decided = [self._judge, info.to_json(), stages if shared.planned else shared.reason]
        # what a record says that its stages do not decide
        said = ([one.label for one in shared.members], shared.left_out, shared.remarks)
        return Cell(
            cell_id(info, s.budget),
            info,
            digest([*decided, *([said] if any(said) else ())]),
            stages,
            own,
            reason=shared.reason,
            status=shared.status,
            random=shared.random,
            minimal=shared.minimal,
            modules=shared.modules,
            params=shared.params,
            absent=absent,
            handed={entry.label: entry.name for entry in shared.members},
            left_out=shared.left_out,
            remarks=shared.remarks,
        )


def cell_id(info: CellInfo, budget: CellBudget) -> str:
    """Return a cell's id: ``benchmark/matrix/victim/defense/attack/budget/s0``."""
    labels = (label.replace("/", ".") for label in (info.victim, info.defense, info.attack))
    return "/".join((info.benchmark, info.matrix, *labels, budget.slug, f"s{info.seed}"))
