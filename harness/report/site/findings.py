"""Generated sentences that open the sections of a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.report.aim import NO_MORE_THAN_CONTROL
from harness.report.names import UNDEFENDED, in_prose
from harness.report.site import format
from harness.report.site.classes import Classes, named_moves
from harness.report.tables import Row, Table

WORST_CASE = {
    "joint": "When all attacks are tried on each example",
    "greedy": "With the most harmful attack chosen for each image",
    "images": "With the attack chosen for each image that reaches most targets",
    "single": "Under the strongest attack",
}
"""Rule of the worst case → what a sentence on its figure begins with."""


_NO_BETTER = f"no defence is significantly better than {UNDEFENDED}"
_FEW = 3
"""Most defences that a sentence names."""


@dataclass(frozen=True)
class TextPart:
    """Part of a generated sentence.

    Attributes:
        text: the text.
        strong: whether it is a name, printed bold and never broken.
    """

    text: str
    strong: bool = False


def ranking(table: Table) -> list[TextPart]:
    """Return which defences lead, and whether the lead is significant."""
    if table.minimal:
        return distances(table)
    leaders = first_places(table)
    parts = _leading(table, leaders)
    for why, left_out in Counter(_why_unranked(row, table) for row in table.unranked).items():
        many = "defence is" if left_out == 1 else "defences are"
        parts.append(TextPart(f" {left_out} {many} not ranked: {why}."))
    texts = dict.fromkeys(
        f"{one.name} ({one.text})" for row in leaders for one in row.caveats if one.warn
    )
    if texts:
        parts.append(TextPart(f" Read first place with these caveats: {'; '.join(texts)}."))
    return parts


def _leading(table: Table, leaders: Sequence[Row]) -> list[TextPart]:
    first = [in_prose(row.defense, is_control=row.is_control) for row in leaders]
    others = [row for row in table.rows if row not in leaders]
    kept = [row.as_constant for row in table.rows]
    if not kept:
        return [TextPart("No defence is ranked yet.")]
    if None not in kept:
        text = (
            "No row keeps significantly more than a network that gives the same answer to every "
            f"input, which keeps {kept[0]:.1%}: their order says nothing."
        )
        return [TextPart(text)]
    if len(first) > 1:
        share = f"{len(first)} of {len(table.rows)}" if len(first) > _FEW else ""
        text = " share first place: a paired test finds no significant difference."
        if any(row.is_control for row in leaders):
            text += f" So {_NO_BETTER}."
        return [*([TextPart(share)] if share else names(first)), TextPart(text)]
    if others and all(leaders[0].defense in row.beaten_by for row in others):
        text = " leads: it is significantly better than every other defence."
        return [*names(first), TextPart(text)]
    if others:
        return [*names(first), TextPart(" leads.")]
    return [TextPart("Only "), *names(first), TextPart(" is ranked.")]


def distances(table: Table) -> list[TextPart]:
    """Return within which distance half of the inputs are wrong, with and without a defence."""
    known = [row for row in table.unranked if row.distance]
    if not known:
        measured = any(row.covered for row in table.unranked)
        text = "No attack has made half of the inputs wrong." if measured else "Not measured yet."
        return [TextPart(text)]
    shown = dict.fromkeys((known[0].defense, known[-1].defense))  # in the order of distances
    rows = [row for row in known if row.defense in shown]
    parts = list[TextPart]()
    for row in rows:
        assert row.distance is not None
        text = format.distance(row.distance.value, table.limits["norm"])
        parts += [
            TextPart("; with " if parts else "With "),
            TextPart(in_prose(row.defense, is_control=row.is_control), strong=True),
            TextPart(
                f", within {text}"
                if parts
                else f", half of the inputs are wrong within a distance of {text}"
            ),
        ]
    return [*parts, TextPart(".")]


def _why_unranked(row: Row, table: Table) -> str:
    if row.blinded:
        return "a sign says that attacks were blinded"
    if row.gaps:
        return "an applicable attack has no result"
    if row.as_constant and not table.headline.higher_is_better:
        return "without an attack, it is no better than one class for all inputs"
    return "no attack gives a figure" if row.applicable else "no attack applies"


def first_places(table: Table) -> list[Row]:
    """Return the ranked defences of the best place.

    That is 1, but where defences are compared on different examples (targeted), as they are right
    on different ones, tests may go round in a circle.
    """
    best = min((row.rank for row in table.rows if row.rank), default=None)
    return [row for row in table.rows if row.rank == best]


def first_place(table: Table) -> str:
    """Return who has first place, in a few words."""
    if table.minimal:
        return "distances are not ranked"
    if all(row.is_control for row in table.rows):
        tried = any(not row.is_control for row in table.unranked)
        return "no defence is ranked" if tried else "no defence was tried"
    first = first_places(table)
    if all(row.as_constant for row in table.rows):
        return "none keeps more than a constant answer"
    if any(row.is_control for row in first):
        return _NO_BETTER
    if len(first) > 1:
        return f"{len(first)} of {len(table.rows)} share first place"
    return first[0].defense


def warning(table: Table) -> list[TextPart]:
    """Return what to know of a table whose attacks have no budget or do not aim, else nothing."""
    parts = []
    if table.unbounded:
        text = " The attacks are unbounded: read each figure with its perturbation size."
        parts.append(TextPart(text))
    if table.aimless and set(table.misses.values()) == {NO_MORE_THAN_CONTROL}:
        text = " No attack reaches its target significantly more often than the control does."
        parts.append(TextPart(text))
    elif table.aimless:
        parts.append(TextPart(" No attack seems to aim at its target: see the list of attacks."))
    elif table.misses:
        parts.append(TextPart(" It is doubtful whether all attacks aim at their targets: see "))
        parts += [*names(list(table.misses)), TextPart(".")]
    return parts


def names(labels: Sequence[str]) -> list[TextPart]:
    """Return an enumeration of names, each a part of its own so that it does not break."""
    parts: list[TextPart] = []
    for i, name in enumerate(labels):
        if i:
            parts.append(TextPart(" and " if i == len(labels) - 1 else ", "))
        parts.append(TextPart(name, strong=True))
    return parts


def iou_drop(classes: Classes, places: int) -> list[TextPart]:
    """Return the drop of the mean IoU, and the class that loses most.

    Args:
        classes: the classes of a cell.
        places: decimals of the percentages.
    """
    parts = []
    if classes.mean.clean and classes.mean.attacked:
        before, after = (
            format.percent(e.value, places) for e in (classes.mean.clean, classes.mean.attacked)
        )
        parts.append(TextPart(f"Mean IoU goes from {before} to {after} %."))
    worst = max(classes.rows, key=lambda row: row.drop or 0.0)
    if worst.drop and worst.drop > 0 and worst.clean and worst.attacked:
        before, after = (format.percent(e.value, places) for e in (worst.clean, worst.attacked))
        parts += [
            TextPart(" The largest drop is on "),
            TextPart(worst.name, strong=True),
            TextPart(f": {before} to {after} %."),
        ]
    return parts


def prediction_changes(classes: Classes) -> list[TextPart]:
    """Return the share of pixels whose prediction changes, and the class that most become."""
    if classes.moves is None or not classes.moves.any():
        return []
    counts, labels = named_moves(classes.moves, classes.names)
    gone = counts - np.diag(np.diag(counts))
    share = format.percent(float(gone.sum() / counts.sum()))
    parts = [TextPart(f"{share} % of the labelled pixels change their predicted class")]
    if not gone.any():
        return [*parts, TextPart(".")]
    to = int(gone.sum(axis=0).argmax())
    part = format.percent(float(gone[:, to].sum() / gone.sum()))
    return [
        *parts,
        TextPart(f"; {part} % of these become "),
        TextPart(labels[to], strong=True),
        TextPart("."),
    ]


def drop_correlation(classes: Classes) -> list[TextPart]:
    """Return the rank correlation of a class's drop with its share of the pixels."""
    known = [(row.share, row.drop) for row in classes.rows if row.share and row.drop is not None]
    rho = spearman(*zip(*known, strict=True)) if len(known) > 2 else None
    if rho is None:
        return []
    text = format.points(rho / 100, 2).lstrip("+")
    return [
        TextPart(
            f"Spearman’s rank correlation of drop and share: {text} over {len(known)} classes. "
        ),
        TextPart("A class cannot lose more than its clean IoU."),
    ]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; ``None`` where a sequence is constant.

    >>> spearman([1, 2, 3], [10, 20, 15]), spearman([1, 2], [5, 5])
    (0.5, None)
    """
    a, b = (pd.Series(values).rank().to_numpy() for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    bottom = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / bottom if bottom else None
