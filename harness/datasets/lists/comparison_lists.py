"""Comparison lists as text: one comparison a line, its columns separated by commas.

The original lines are kept, so that a list with flipped comparisons differs in nothing else.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.common.errors import UserError
from harness.datasets.lists.comparison_columns import FIELDS, ITEMS, NEGATED, Grammar
from harness.datasets.mistakes import Mistakes

LINES = "train_lines"
"""Name of the stored array of training lines: bytes ``[n]`` of a fixed width."""
_OTHER_MARKS = {";": "semicolons", "\t": "tabs", "\r": "line ends of old Macs"}
"""Mark between fields or rows that lists of other programs have → its name."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row of a list.

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


def parse_list(blob: bytes, where: str, grammar: Grammar, mistakes: Mistakes) -> list[Comparison]:
    """Parse the rows of a list, in order.

    A byte order mark, quotes and other separators are refused and not removed: the lines are kept
    as they are.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        grammar: of the list.
        mistakes: gets every malformed row; or that the list is empty, or is not text.
    """
    expected = ",".join(grammar.columns)
    try:
        text = blob.decode("utf-8")
    except UnicodeDecodeError:
        mistakes.add(UserError(where, "is not UTF-8 text", "give the original list"))
        return []
    if text.startswith("\ufeff"):
        fix = "save it as UTF-8 without one"
        mistakes.add(UserError(where, "begins with a byte order mark", fix))
        return []
    if not text:
        mistakes.add(UserError(where, "holds no row", f"give rows {expected}"))
    rows = []
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        try:
            rows.append(_parse_row(line, grammar))
        except ValueError as error:
            mistakes.add(UserError(f"{where}, row {number}", str(error), f"expected {expected}"))
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
    items = tuple(found[column] for column in ITEMS if column in found)
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


def flip_line(line: str, columns: Sequence[str]) -> str:
    r"""Return the line of the opposite comparison; all other bytes stay, also the line end.

    The label is negated; in a list without labels, the compared items are swapped.

    >>> flip_line("a.jpg,b.jpg,1,7,3\n", ["u", "v", "label", "pair", "strength"])
    'a.jpg,b.jpg,-1,7,3\n'
    >>> flip_line("25,73,0,1\n", ["a", "p", "q", "weight"])
    '25,0,73,1\n'
    """
    fields = _strip_end(line).split(",")
    if "label" in columns:
        column = columns.index("label")
        fields[column] = NEGATED[fields[column]]
    else:
        first, second = [columns.index(one) for one in ITEMS if one in columns][-2:]
        fields[first], fields[second] = fields[second], fields[first]
    return ",".join(fields) + line[len(_strip_end(line)) :]


def majority(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return the first row of each group that agrees with most votes.

    A group whose votes tie has none. Both directions count: (u, v) labelled +1 is a vote with
    (v, u) labelled −1.
    """
    votes: Counter[str] = Counter()
    for row in rows:
        votes[row.group] += row.direction * row.strength
    first: dict[str, Comparison] = {}
    for row in rows:
        if row.direction * votes[row.group] > 0:
            first.setdefault(row.group, row)
    return list(first.values())
