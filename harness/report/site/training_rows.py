"""Training curves of the rows of a matrix: one name of values, one line a defence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.common.text import list_first
from harness.report.cells import CellRow
from harness.report.site.line_panels import COLOURS
from harness.report.site.seed_bands import mean_of_seeds
from harness.report.site.training_plots import Chart, Series, charts
from harness.report.site.trainings import TRAINING, Keys, Loader, stages_of
from harness.results.training_curves import Point, TrainingCurve


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
) -> dict[Keys, list[CellRow]]:
    """Return seeds and keys of trainings → a cell of each row with these, undefended rows first.

    Where attacks change the training, that of a control attack is the defence's own.
    """
    own: dict[str, dict[int, CellRow]] = {}
    for line in sorted(planned, key=lambda one: (not one.defense_control, not one.attack_control)):
        if TRAINING in dict(stages_of(line)):
            own.setdefault(line.defense, {}).setdefault(line.seed, line)
    rows: dict[Keys, list[CellRow]] = {}
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
