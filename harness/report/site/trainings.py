"""Training curves of a cell and of the rows of a matrix: self-reported, never scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.common.text import list_first
from harness.report.cells import CellRow
from harness.report.site.curves import COLOURS, MOST
from harness.report.site.seed_bands import mean_of_seeds
from harness.report.site.training_plots import Chart, Series, charts
from harness.results.training_curves import Point, TrainingCurve

Loader = Callable[[str], tuple[TrainingCurve, ...] | None]
"""Stage key → the stage's curves; ``None`` without its artefact."""

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


@dataclass(frozen=True)
class RowCharts:
    """Charts of the rows of one victim.

    Attributes:
        j: index of the victim on the page.
        victim: label of the victim.
        name: name of the values.
        others: other names that the rows have, as a text.
        attack: label of the attack that the trainings belong to, empty where they serve several.
        shared: row → further rows with the same trainings.
        charts: the charts; the undefended rows are in each.
    """

    j: int
    victim: str
    name: str
    others: str
    attack: str
    shared: Mapping[str, tuple[str, ...]]
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


# ---- one cell ----


def cell_trainings(
    budgets: Mapping[str, Sequence[CellRow]], load: Loader
) -> tuple[TrainingCharts, ...]:
    """Return the charts of a cell's page.

    Args:
        budgets: label of a budget → the cells, one a seed. Budgets whose cells share a stage, as
            those of an evasion attack share the victim's training, share its charts.
        load: reads the curves of a stage.
    """
    found: dict[str, dict[tuple[tuple[int, str], ...], list[str]]] = {}
    for budget, lines in budgets.items():
        keys: dict[str, list[tuple[int, str]]] = {}
        for line in lines:
            for role, key in stages_of(line):
                keys.setdefault(role, []).append((line.seed, key))
        for role, seeds in keys.items():
            found.setdefault(role, {}).setdefault(tuple(seeds), []).append(budget)
    return tuple(
        TrainingCharts(title, " · ".join(labels) if len(found[role]) > 1 else "", drawn)
        for role, title in ROLES.items()
        for seeds, labels in found.get(role, {}).items()
        if (drawn := tuple(_seed_charts({seed: load(key) or () for seed, key in seeds})))
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


# ---- the rows of a matrix ----


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


def row_charts(
    planned: Sequence[CellRow], victims: Sequence[str], load: Loader
) -> tuple[RowCharts, ...]:
    """Return the charts of each victim that has curves: one name, one line a defence."""
    return tuple(
        drawn
        for j, victim in enumerate(victims)
        if (drawn := _row_charts(j, [one for one in planned if one.victim == victim], load))
    )


def _row_charts(j: int, planned: Sequence[CellRow], load: Loader) -> RowCharts | None:
    rows = _rows_by_training(planned)
    curves = {keys: [load(key) or () for _, key in keys] for keys in rows}
    names = Counter(name for seeds in curves.values() for name in _names(seeds))
    for name in sorted(names, key=lambda one: _preference(one, names[one])):
        series = _series(name, [(lines[0], curves[keys]) for keys, lines in rows.items()])
        if series:
            break
    else:
        return None
    plain = [one for one in series if one.style == "control"]
    others = [one for one in series if one.style != "control"]
    batches = [plain + others[i : i + COLOURS] for i in range(0, len(others), COLOURS)] or [plain]
    trained = {dict(stages_of(line)).get(TRAINING) for line in planned} - {None}
    chosen = {key for keys in rows for _, key in keys}
    first = next(iter(rows.values()))[0]
    return RowCharts(
        j=j,
        victim=first.victim,
        name=name,
        others=list_first(sorted(set(names) - {name}), 8),
        attack=first.attack if trained - chosen else "",
        shared={
            lines[0].defense: tuple(line.defense for line in lines[1:])
            for lines in rows.values()
            if lines[1:] and lines[0].defense in {one.name for one in series}
        },
        charts=charts(name, batches),
    )


def _rows_by_training(
    planned: Iterable[CellRow],
) -> dict[tuple[tuple[int, str], ...], list[CellRow]]:
    """Return seeds and keys of trainings → a cell of each row with these, undefended rows first.

    Where attacks change the training, that of a control attack is the defence's own.
    """
    own: dict[str, dict[int, CellRow]] = {}
    for line in sorted(planned, key=lambda one: (not one.defense_control, not one.attack_control)):
        if TRAINING in dict(stages_of(line)):
            own.setdefault(line.defense, {}).setdefault(line.seed, line)
    rows: dict[tuple[tuple[int, str], ...], list[CellRow]] = {}
    for seeds in own.values():
        keys = [(seed, dict(stages_of(line))[TRAINING]) for seed, line in seeds.items()]
        rows.setdefault(tuple(sorted(keys)), []).append(next(iter(seeds.values())))
    return rows


def _series(
    name: str, rows: Iterable[tuple[CellRow, Sequence[Sequence[TrainingCurve]]]]
) -> list[Series]:
    """Return a line for each row with a value of this name: the mean over seeds."""
    found: list[Series] = []
    colours = 0
    for line, seeds in rows:
        points, band = mean_of_seeds([longest_fit(curves, name) for curves in seeds])
        if any(value is not None for _, value in points):
            style = "control" if line.defense_control else f"k{colours % COLOURS}"
            colours += not line.defense_control
            found.append(Series(line.defense, style, points, band))
    return found


def _names(seeds: Iterable[Sequence[TrainingCurve]]) -> set[str]:
    return {one.name for curves in seeds for one in curves}


def _preference(name: str, rows: int) -> tuple[int, bool, bool, bool, str]:
    """Return a sort key of names: those of most rows first, scores on validation before losses."""
    return -rows, name == "loss", name == "val_loss", not name.startswith("val_"), name


def longest_fit(curves: Iterable[TrainingCurve], name: str) -> tuple[Point, ...]:
    """Return the points of the fit with most of them, the first of several; empty without any."""
    own = [one.points for one in curves if one.name == name]
    return max(own, key=len, default=())
