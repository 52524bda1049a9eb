"""Comparison lists as text: one comparison a line, in the grammar of its data set.

The original lines are kept, so that a list with flipped comparisons differs in nothing else.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass

from harness.common.errors import UserError
from harness.datasets.base import Array
from harness.datasets.mistakes import Mistakes
from harness.datasets.ranking.grammars import FIELDS, ITEMS, NEGATED, ROW_GRAMMARS, Grammar

_OTHER_MARKS = {";": "semicolons", "\t": "tabs", "\r": "line ends of old Macs"}
"""Mark between fields or rows that lists of other programs have → its name."""


@dataclass(frozen=True)
class Comparison:
    """One row of a list.

    Attributes:
        items: names of the items; the last two are compared.
        label: ±1; +1 for a triplet.
        attribute: number of the compared attribute.
        strength: number of votes for this row.
        line: its text with the line end.
    """

    items: tuple[str, ...]
    label: int
    attribute: int
    strength: int
    line: str

    @property
    def key(self) -> str:
        """Items, label and attribute: repeated comparisons have equal keys."""
        return ",".join((*self.items, str(self.label), str(self.attribute)))

    @property
    def group(self) -> str:
        """Items and attribute, whatever the order of the compared items and the label."""
        *anchor, first, second = self.items
        return ",".join((*anchor, *sorted((first, second)), str(self.attribute)))

    @property
    def direction(self) -> int:
        """Label for the compared items in the order of ``group``."""
        return self.label if self.items[-2] <= self.items[-1] else -self.label


def parse_list(blob: bytes, where: str, grammar: Grammar) -> list[Comparison]:
    """Parse the rows of a list, in order.

    Raises:
        UserError: the list is empty, is not text, or has malformed rows, which are named, all at
            once. A byte order mark, quotes and other separators are refused and not removed: the
            lines are kept as they are, so that a list with flipped rows differs in nothing else.
    """
    try:
        text = blob.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(where, "is not UTF-8 text", "give the original list") from error
    if text.startswith("\ufeff"):
        raise UserError(where, "begins with a byte order mark", "save it as UTF-8 without one")
    rows, mistakes = [], Mistakes(where)
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        try:
            rows.append(_parse_row(line, grammar))
        except ValueError as error:
            fix = f"expected {','.join(grammar.columns)}"
            mistakes.add(UserError(f"{where}, row {number}", str(error), fix))
    mistakes.check()
    if not rows:
        raise UserError(where, "holds no row", f"give rows {','.join(grammar.columns)}")
    return rows


def _parse_row(line: str, grammar: Grammar) -> Comparison:
    fields = _strip_end(line).split(",")
    if len(fields) != len(grammar.columns):
        if not line.strip():
            raise ValueError("is blank")
        others = [name for mark, name in _OTHER_MARKS.items() if mark in line]
        if len(fields) == 1 and others:
            raise ValueError(f"has {others[0]}, not commas, between its fields")
        plural = "s" if len(fields) > 1 else ""
        raise ValueError(f"has {len(fields)} field{plural}, not {len(grammar.columns)}")
    found = dict(zip(grammar.columns, fields, strict=True))
    for column, text in found.items():
        if reason := FIELDS[column](text, grammar):
            raise ValueError(reason)
    items = tuple(found[column] for column in grammar.columns if column in ITEMS)
    if len(set(items)) < len(items):
        raise ValueError(f"compares {Counter(items).most_common(1)[0][0]} with itself")
    return Comparison(
        items=items,
        label=int(found.get("label", "1")),
        attribute=int(found.get("attribute", "0")),
        strength=int(found.get("strength", "1")),
        line=line,
    )


def _strip_end(line: str) -> str:
    """Return a line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def flip_line(line: str, grammar: Grammar) -> str:
    r"""Return the line of the opposite comparison; all other bytes stay, also the line end.

    The label is negated; in a list without labels, nearer and farther item are swapped.

    >>> from harness.datasets.ranking.grammars import GRAMMARS
    >>> flip_line("a.jpg,b.jpg,1,7,3\n", GRAMMARS["age"])
    'a.jpg,b.jpg,-1,7,3\n'
    >>> flip_line("25,73,0,1\n", GRAMMARS["food"])
    '25,0,73,1\n'
    """
    fields = _strip_end(line).split(",")
    if "label" in grammar.columns:
        column = grammar.columns.index("label")
        fields[column] = NEGATED[fields[column]]
    else:
        near, far = (grammar.columns.index(column) for column in ("p", "q"))
        fields[near], fields[far] = fields[far], fields[near]
    return ",".join(fields) + line[len(_strip_end(line)) :]


def flip_row_line(line: str) -> str:
    r"""Return the line of the opposite comparison, for a line of ``format_rows``.

    >>> flip_row_line("4,7,-1,0\n"), flip_row_line("1,2,3,1,0\n")
    ('4,7,1,0\n', '1,2,3,-1,0\n')
    """
    return flip_line(line, ROW_GRAMMARS[line.count(",") - 1])


def format_rows(y: Array) -> list[str]:
    r"""Format rows of ``y`` as lines of ``ROW_GRAMMARS``.

    >>> import numpy as np
    >>> format_rows(np.array([[4, 7, -1, 0]]))
    ['4,7,-1,0\n']
    """
    return [",".join(map(str, row)) + "\n" for row in y.tolist()]
