"""Training curves of cells: self-reported, never scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow
from harness.report.site.curves import MOST
from harness.report.site.line_panels import COLOURS
from harness.report.site.training_plots import Chart, Series, charts
from harness.results.training_curves import TrainingCurve

Loader = Callable[[str], tuple[TrainingCurve, ...] | None]
"""Stage key → the stage's curves; ``None`` without its artefact."""

Keys = tuple[tuple[int, str], ...]
"""Seeds, and keys of the stages of one role."""

TRAINING = "train"

ROLES = {
    "poison": "Making of the edits",
    "deliver": "Training of the network that the attack delivers",
    "teacher": "Training of the network that the student starts from",
    TRAINING: "Training",
    "repair": "Repair",
    "attack": "Attack",
}
"""Role of a stage with a module's code, in the order of a run → heading of its curves."""


@dataclass(frozen=True)
class Training:
    """Stage that wrote curves, of one row and seed.

    Attributes:
        victim: label of the victim.
        defense: label of the defence.
        attack: label of the attack, empty where the stage serves several.
        budget: label of the budget, empty where the stage serves several.
        seed: seed of the cells.
        role: a key of ``ROLES``.
        curves: the curves.
    """

    victim: str
    defense: str
    attack: str
    budget: str
    seed: int
    role: str
    curves: tuple[TrainingCurve, ...]


@dataclass(frozen=True)
class TrainingCharts:
    """Charts of one stage of a cell.

    Attributes:
        title: heading.
        note: budgets that it belongs to, where those of a cell differ in it.
        charts: one chart a name.
    """

    title: str
    note: str
    charts: tuple[Chart, ...]


def no_curves(key: str) -> None:
    """Load no curves: a site without a store."""


def stages_of(line: CellRow) -> Iterator[tuple[str, str]]:
    """Yield role and key of the stages of a cell that may have curves, each stage once."""
    stages = line.record.stages if line.record else {}
    keys = {stages[role]: role for role in reversed(ROLES) if role in stages}
    yield from ((role, key) for role in ROLES for key, own in keys.items() if own == role)


def is_without_artefacts(lines: Iterable[CellRow], load: Loader) -> bool:
    """Return whether cells were trained, and the store has none of these trainings."""
    keys = {k for line in lines for role, k in stages_of(line) if role not in ("poison", "attack")}
    return bool(keys) and all(load(key) is None for key in keys)


def cell_trainings(
    budgets: Mapping[str, Sequence[CellRow]],
    load: Loader,
    drawn: dict[Keys, tuple[Chart, ...]] | None = None,
) -> tuple[TrainingCharts, ...]:
    """Return the charts of a cell's page.

    Args:
        budgets: label of a budget → the cells, one a seed. Budgets whose cells share a stage, as
            those of an evasion attack share the victim's training, share its charts.
        load: reads the curves of a stage.
        drawn: charts that other pages have, to which those of this page are added: all cells of a
            row may share its training.
    """
    drawn = {} if drawn is None else drawn
    found: dict[str, dict[Keys, list[str]]] = {}
    for budget, lines in budgets.items():
        keys: dict[str, list[tuple[int, str]]] = {}
        for line in lines:
            for role, key in stages_of(line):
                keys.setdefault(role, []).append((line.seed, key))
        for role, pairs in keys.items():
            seeds = tuple(pairs)
            found.setdefault(role, {}).setdefault(seeds, []).append(budget)
            if seeds not in drawn:
                drawn[seeds] = tuple(_seed_charts({seed: load(key) or () for seed, key in seeds}))
    return tuple(
        TrainingCharts(title, " · ".join(labels) if len(found[role]) > 1 else "", drawn[seeds])
        for role, title in ROLES.items()
        for seeds, labels in found.get(role, {}).items()
        if drawn[seeds]
    )


def _seed_charts(seeds: Mapping[int, Sequence[TrainingCurve]]) -> Iterator[Chart]:
    """Yield a chart for each name, with a line for each fit of each seed."""
    for name in dict.fromkeys(one.name for curves in seeds.values() for one in curves):
        series = []
        for i, (seed, curves) in enumerate(seeds.items()):
            own = [one for one in curves if one.name == name]
            for one in own:
                label = f"seed {seed}" + (f", fit {one.fit}" if len(own) > 1 else "")
                series.append(Series(label, f"k{i % COLOURS}", one.points))
        drawn = [one for one in series if one.known]
        if drawn:
            yield from charts(name, [drawn[:MOST]], omitted=len(drawn[MOST:]))


def row_trainings(planned: Sequence[CellRow], load: Loader) -> tuple[Training, ...]:
    """Return all trainings with curves of a matrix, one for each row, seed and stage."""
    served: dict[tuple[str, str, int, str, str], list[CellRow]] = {}
    for line in planned:
        for role, key in stages_of(line):
            served.setdefault((line.victim, line.defense, line.seed, role, key), []).append(line)
    return tuple(
        Training(
            victim,
            defense,
            _only(line.attack for line in lines),
            _only(line.budget for line in lines),
            seed,
            role,
            curves,
        )
        for (victim, defense, seed, role, key), lines in served.items()
        if (curves := load(key))
    )


def _only(labels: Iterable[str]) -> str:
    found = set(labels)
    return found.pop() if len(found) == 1 else ""
