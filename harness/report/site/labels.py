"""Where the names of marks stand in a picture, so that none covers another or a mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

LETTER = 7.8
"""Width of a letter of the pictures' text, on average, in pixels at 13 px."""

_LINE = 16.0
_RADIUS = 6.0
_AROUND = ((11, 4), (-11, 4), (0, -11), (0, 20), (9, -9), (9, 17), (-9, -9), (-9, 17))
_AWAY = ((22, -16), (22, 26), (-22, -16), (-22, 26), (34, -32), (-34, -32), (34, 44), (0, 52))

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Point:
    """A named mark: where it stands, and from where to where its interval goes.

    ``label_x`` is ``None`` where no place was free; ``lead``: a line leads from it to the mark.
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


def labelled(
    points: Sequence[Point], left: float, width: float, lines: Sequence[Box], letter: float = LETTER
) -> list[Point]:
    """Labels where one is free, those of the best marks first; the order of the points stays.

    Args:
        points: without labels. left, width: ends of the room that labels have.
        lines: what else no label may cover. letter: width of one, in pixels.
    """
    taken = [(p.x - _RADIUS, p.y - _RADIUS, p.x + _RADIUS, p.y + _RADIUS) for p in points]
    taken += [(p.x - 4, p.hi, p.x + 4, p.lo) for p in points]
    taken += lines
    done = list(points)
    for i in sorted(range(len(points)), key=lambda i: (not done[i].best, done[i].y, done[i].x)):
        point = done[i]
        for dx, dy in (*_AROUND, *_AWAY):
            anchor = "start" if dx > 0 else "end" if dx < 0 else "middle"
            x, y, wide = point.x + dx, point.y + dy, letter * len(point.name)
            x0 = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
            box = (x0, y - _LINE + 4, x0 + wide, y + 3)
            inside = box[0] > left and box[2] < width
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                done[i] = replace(
                    point,
                    label_x=round(x, 1),
                    label_y=round(y, 1),
                    anchor=anchor,
                    lead=(dx, dy) in _AWAY,
                )
                break
    return done


def short(name: str, longest: int) -> str:
    """A name that fits beside a picture; in full it stands in a table.

    Variants differ at the end, so the middle goes.

    >>> short("pavement", 13), short("malicious-autoencoder/m", 13)
    ('pavement', 'maliciou…er/m')
    """
    end = (longest - 1) // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[-end:]}"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as near as can be to the wanted ones, in their order, at least ``gap`` apart.

    Args:
        wanted: in any order. gap: between neighbours; smaller where ``low`` to ``high`` is short.

    >>> spread([10.0, 11.0, 40.0], 6.0, 0.0, 50.0)
    [7.5, 13.5, 40.0]
    """
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    # Groups of touching labels, each around the mean of what its members want.
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
    middle = sum(wanted[i] for i in group) / len(group)
    half = gap * (len(group) - 1) / 2
    return min(max(middle - half, low), high - 2 * half)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
