"""Generated sentences: what a section shows, said before it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.report.site import format
from harness.report.site.classes import Classes, used
from harness.report.tables import Table


@dataclass(frozen=True)
class Says:
    """A piece of a generated sentence; ``strong`` pieces are names and never break."""

    text: str
    strong: bool = False


def ranking(table: Table) -> list[Says]:
    """The section's first sentence: who leads, and how sure that is."""
    if not table.rows:
        return [Says("No defence is ranked yet: each lacks a result of an attack that applies.")]
    first = [row.defense for row in table.rows if row.rank == 1]
    others = [row for row in table.rows if row.rank != 1]
    if len(first) > 1:
        said = [*names(first), Says(" share first place: a paired test cannot tell them apart.")]
    elif others and all(first[0] in row.beaten_by for row in others):
        said = [*names(first), Says(" leads: a paired test sets it apart from every other.")]
    elif others:
        said = [*names(first), Says(" leads.")]
    else:
        said = [Says("Only "), *names(first), Says(" is ranked.")]
    left_out = len(table.unranked)
    if left_out:
        many = "defence is" if left_out == 1 else "defences are"
        said.append(Says(f" {left_out} {many} not ranked: an attack that applies has no result."))
    return said


def warning(table: Table) -> list[Says]:
    """What must be known before the figures of a board without a bound are read."""
    if not table.unbounded:
        return []
    return [Says(" Nothing limits these attacks: read each figure beside the size of its change.")]


def names(found: Sequence[str]) -> list[Says]:
    """Names in a sentence, each a piece of its own: it is the name that must not break."""
    said: list[Says] = []
    for i, name in enumerate(found):
        if i:
            said.append(Says(" and " if i == len(found) - 1 else ", "))
        said.append(Says(name, strong=True))
    return said


def lost(classes: Classes, places: int) -> list[Says]:
    """How much IoU is gone, and which class loses most; per cent with so many decimals."""
    said = []
    if classes.mean.clean and classes.mean.attacked:
        before, after = (
            format.percent(e.value, places) for e in (classes.mean.clean, classes.mean.attacked)
        )
        said.append(Says(f"The mean goes from {before} to {after} %."))
    worst = max(classes.rows, key=lambda row: row.drop or 0.0)
    if worst.drop and worst.drop > 0 and worst.clean and worst.attacked:
        before, after = (format.percent(e.value, places) for e in (worst.clean, worst.attacked))
        said += [
            Says(" Most is lost on "),
            Says(worst.name, strong=True),
            Says(f": {before} to {after}."),
        ]
    return said


def moved(classes: Classes) -> list[Says]:
    """Which share of the pixels changes its class, and what most of those become."""
    if classes.moves is None or not classes.moves.any():
        return []
    counts, labels = used(classes.moves, classes.names)
    gone = counts - np.diag(np.diag(counts))
    share = format.percent(float(gone.sum() / counts.sum()))
    said = [Says(f"{share} % of the labelled pixels change their class")]
    if not gone.any():
        return [*said, Says(".")]
    to = int(gone.sum(axis=0).argmax())
    part = format.percent(float(gone[:, to].sum() / gone.sum()))
    return [*said, Says(f"; of those, {part} % become "), Says(labels[to], strong=True), Says(".")]


def ranks(classes: Classes) -> list[Says]:
    """Whether the classes that lose most are the rare ones: Spearman's rank correlation."""
    known = [(row.share, row.drop) for row in classes.rows if row.share and row.drop is not None]
    rho = spearman(*zip(*known, strict=True)) if len(known) > 2 else None
    if rho is None:
        return []
    text = format.points(rho / 100, 2).lstrip("+")
    return [
        Says(f"Rank correlation of drop and share: {text} over {len(known)} classes. "),
        Says("No class can lose more than its clean IoU."),
    ]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; ``None`` where one does not vary.

    >>> spearman([1, 2, 3], [10, 20, 15]), spearman([1, 2], [5, 5])
    (0.5, None)
    """
    a, b = (pd.Series(values).rank().to_numpy() for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    bottom = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / bottom if bottom else None
