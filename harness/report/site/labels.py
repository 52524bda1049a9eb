"""Placement of labels in figures: no label covers another label or a mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.report.site.axes import Box, Frame

_LINE = 16.0
_RADIUS = 6.0
# Offsets of a label from its mark, tried in order: close by, then farther away with a line.
_AROUND = ((11, 4), (-11, 4), (0, -11), (0, 20), (9, -9), (9, 17), (-9, -9), (-9, 17))
_AWAY = ((22, -16), (22, 26), (-22, -16), (-22, 26), (34, -32), (-34, -32), (34, 44), (0, 52))


@dataclass(frozen=True)
class Mark:
    """A named mark of a figure.

    Attributes:
        name: text of its label.
        x: its horizontal position.
        y: its vertical position.
        lo: position of the lower end of its interval.
        hi: position of the upper end of its interval.
        best: whether no other mark beats it in both figures.
        open: whether its figure is only a bound.
        label_x: where its label is anchored, or ``None`` where no place was free.
        label_y: baseline of its label.
        anchor: SVG's ``text-anchor`` of its label.
        lead: whether a line leads from the label to the mark.
    """

    name: str
    x: float
    y: float
    lo: float
    hi: float
    best: bool = False
    open: bool = False
    label_x: float | None = None
    label_y: float = 0.0
    anchor: str = "start"
    lead: bool = False


def place_labels(
    marks: Sequence[Mark], frame: Frame, lines: Sequence[Box] = ()
) -> tuple[Mark, ...]:
    """Return the marks, in their order, with a label wherever a place is free.

    Args:
        marks: marks without labels.
        frame: the figure; its margins stay free of labels.
        lines: boxes around drawn lines, which stay free of labels too.
    """
    taken = [(m.x - _RADIUS, m.y - _RADIUS, m.x + _RADIUS, m.y + _RADIUS) for m in marks]
    taken += [(m.x - 4, m.hi, m.x + 4, m.lo) for m in marks]
    taken += [*lines, *frame.margins]
    placed = list(marks)
    # Greedy: the best marks choose first, then the topmost.
    for i in sorted(range(len(marks)), key=lambda i: (not marks[i].best, marks[i].y, marks[i].x)):
        mark = marks[i]
        for dx, dy in (*_AROUND, *_AWAY):
            anchor = "start" if dx > 0 else "end" if dx < 0 else "middle"
            x, y, width = mark.x + dx, mark.y + dy, frame.text.letter * len(mark.name)
            x0 = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (x0, y - _LINE + 4, x0 + width, y + 3)
            inside = box[0] > frame.left and box[2] < frame.width
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                placed[i] = replace(
                    mark,
                    label_x=round(x, 1),
                    label_y=round(y, 1),
                    anchor=anchor,
                    lead=(dx, dy) in _AWAY,
                )
                break
    return tuple(placed)


def boxes_along(points: Sequence[tuple[float, float]], pieces: int = 1) -> list[Box]:
    """Return boxes around a drawn line, so that it crosses no label.

    Args:
        points: corners of the line.
        pieces: boxes a segment; a slanted one needs several.
    """
    corners = [
        (x + (u - x) * i / pieces, y + (v - y) * i / pieces)
        for (x, y), (u, v) in pairwise(points)
        for i in range(pieces)
    ]
    return [
        (min(x, u) - 2, min(y, v) - 2, max(x, u) + 2, max(y, v) + 2)
        for (x, y), (u, v) in pairwise([*corners, *points[-1:]])
    ]


def shorten(name: str, longest: int) -> str:
    """Shorten a name in its middle, because variants differ at the end.

    Args:
        name: the name; a table has it in full.
        longest: most characters of the result.

    >>> shorten("pavement", 13), shorten("malicious-autoencoder/m", 13)
    ('pavement', 'maliciou…er/m')
    """
    end = (longest - 1) // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions close to the wanted ones, in the same order, at least ``gap`` apart.

    Args:
        wanted: positions in any order.
        gap: least distance of neighbours; reduced where the room is too short for it.
        low: start of the room.
        high: end of the room.

    >>> spread([10.0, 11.0, 40.0], 6.0, 0.0, 50.0)
    [7.5, 13.5, 40.0]
    """
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    # Groups of touching labels. Each is centred on the mean of its wanted positions and is merged
    # with its neighbour while the two overlap, as in the pool-adjacent-violators algorithm.
    groups: list[list[int]] = []
    for i in order:
        groups.append([i])
        while len(groups) > 1 and _first(groups[-1], wanted, gap, low, high) < (
            _first(groups[-2], wanted, gap, low, high) + gap * len(groups[-2])
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = dict[int, float]()
    for group in groups:
        start = _first(group, wanted, gap, low, high)
        placed |= {i: round(start + gap * n, 1) for n, i in enumerate(group)}
    return [placed[i] for i in range(len(wanted))]


def _first(
    group: Sequence[int], wanted: Sequence[float], gap: float, low: float, high: float
) -> float:
    """Return the position of a group's first label."""
    middle = sum(wanted[i] for i in group) / len(group)
    half = gap * (len(group) - 1) / 2
    return min(max(middle - half, low), high - 2 * half)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
