"""Training comparisons of ranking sets as text, from what is stored alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.common.errors import UserError
from harness.datasets import find, load, stored
from harness.datasets.base import Array
from harness.datasets.fraction import fraction_rows
from harness.datasets.lists.comparison_lists import LINES, flip_line


def comparison_lines(name: str, root: Path, train_fraction: float = 1.0) -> list[str]:
    """Return the training comparisons of a ranking set as text, one line for each ``train.y`` row.

    A set that was read from a list returns the lines of that list. All other sets return item rows
    as ``u,v,label,attribute`` (triplets: ``a,p,q,label,attribute``).

    Args:
        name: of a bundled set, or of one that is stored.
        root: folder of stored sets.
        train_fraction: above 0 and at most 1; the same rows as ``load`` chooses.

    Raises:
        UserError: it is no ranking set.
        DataMissing: it is not stored, or was changed.
    """
    splits = load(name, root)
    if splits.spec["task"] != "ranking":
        what = f"is for {splits.spec['task']}: it has no comparisons"
        raise UserError(f"data set {name}", what, "name a ranking set")
    rows = fraction_rows(name, splits.train, train_fraction)
    if _columns(name, root) is None:
        return format_rows(splits.train.y if rows is None else splits.train.y[rows])
    listed: list[bytes] = stored.load_checked(
        name, root, stored.read_facts(name, root), LINES
    ).tolist()
    lines = [line.decode("utf-8") for line in listed]
    return lines if rows is None else [lines[row] for row in rows.tolist()]


def flip_lines(name: str, root: Path, lines: Sequence[str], rows: Iterable[int]) -> list[str]:
    """Flip the comparisons of some lines of ``comparison_lines``; all other bytes stay.

    Args:
        name: of the data set.
        root: folder of stored sets.
        lines: all lines, one for each row of ``train.y``.
        rows: numbers of the lines to flip, from ``flip_mask`` of two label arrays.
    """
    columns, result = _columns(name, root), list(lines)
    for row in rows:
        result[row] = flip_line(result[row], columns or row_columns(result[row]))
    return result


def format_rows(y: Array) -> list[str]:
    r"""Format rows of ``y`` as lines.

    >>> import numpy as np
    >>> format_rows(np.array([[4, 7, -1, 0]]))
    ['4,7,-1,0\n']
    """
    return [",".join(map(str, row)) + "\n" for row in y.tolist()]


def row_columns(line: str) -> list[str]:
    r"""Return the columns of a line of ``format_rows``.

    >>> row_columns("1,2,3,1,0\n")
    ['a', 'p', 'q', 'label', 'attribute']
    """
    items = ["u", "v"] if line.count(",") == 3 else ["a", "p", "q"]
    return [*items, "label", "attribute"]


def _columns(name: str, root: Path) -> Sequence[str] | None:
    """Return the columns of the list that a set was read from; ``None``: of none."""
    if find(name) is not None:
        return None
    columns: Sequence[str] | None = stored.read_facts(name, root).get("columns")
    return columns
