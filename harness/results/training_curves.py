"""Training curves as modules wrote them: untrusted text, read within limits and thinned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.common.text import one_line

FILE = "curves.jsonl"
"""Name of the file in a stage's artefact."""

MOST_BYTES = 4 << 20
"""Bytes of a file that are read; about 60,000 points."""

MOST_CURVES = 40
"""Most curves of a stage, each fit of each name counted; later ones are left out."""

MOST_POINTS = 200
"""Most points of a curve; a longer one is thinned."""

LONGEST_NAME = 60
LARGEST = 1e30
"""Largest absolute value that is shown, so that the length of an axis stays finite."""

LAST_STEP = 1 << 53

Point = tuple[int, float | None]
"""Step, and value or ``None`` where the value was not finite."""


@dataclass(frozen=True)
class TrainingCurve:
    """Self-reported values of one name in one fit of a stage.

    Attributes:
        name: name of the values, in one printable line.
        fit: number of the fit among those of the stage with this name, from 1.
        points: points in the order of their steps, at most ``MOST_POINTS``.
    """

    name: str
    fit: int
    points: tuple[Point, ...]


def read_curves(path: Path) -> tuple[TrainingCurve, ...]:
    """Read the curves of a stage; lines that are no points are left out.

    A step that is not above the last one of its name begins a new fit: a stage may train several
    times, and the points of two fits are no curve.

    Raises:
        OSError: there is no such file.
    """
    with path.open("rb") as file:
        text = file.read(MOST_BYTES)
    found: list[tuple[str, int, list[Point]]] = []
    latest: dict[str, tuple[int, int, list[Point]]] = {}
    for name, (step, value) in _points(text):
        fit, last, points = latest.get(name, (0, -1, []))
        if step <= last or not fit:
            fit, points = fit + 1, []
            if len(found) < MOST_CURVES:
                found.append((name, fit, points))
        points.append((step, value))
        latest[name] = (fit, step, points)
    return tuple(TrainingCurve(name, fit, thin(points)) for name, fit, points in found)


def _points(text: bytes) -> Iterator[tuple[str, Point]]:
    for line in text.splitlines():
        try:
            point = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match point:
            case {"name": str(name), "step": int(step), "value": value} if (
                type(step) is int and 0 <= step < LAST_STEP
            ):
                yield one_line(name)[:LONGEST_NAME] or "unnamed", (step, _number(value))


def _number(value: object) -> float | None:
    """Return a value as a float; ``None`` if it is no number, or too large to be shown."""
    if type(value) not in (int, float):
        return None
    shown = -LARGEST <= value <= LARGEST  # type: ignore[operator]
    return float(value) if shown else None  # type: ignore[arg-type]


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """Return at most so many points of a curve, evenly chosen, the first and the last among them.

    A point stands for those before it that are left out; it has no value if one of them has none,
    so that a gap stays a gap.

    >>> thin([(0, 1.0), (1, 2.0), (2, None), (3, 4.0), (4, 5.0)], most=3)
    ((0, 1.0), (2, None), (4, 5.0))
    """
    if len(points) <= most:
        return tuple(points)
    kept, start = [], 0
    for i in range(most):
        end = i * (len(points) - 1) // (most - 1)
        step, value = points[end]
        whole = all(value is not None for _, value in points[start : end + 1])
        kept.append((step, value if whole else None))
        start = end + 1
    return tuple(kept)
