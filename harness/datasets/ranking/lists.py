"""Comparison lists as text: one judgement a line, in the grammar of the set that it belongs to.

A line is kept as it is, so that a list with some judgements turned differs in nothing else.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass

from harness.common.errors import UserError
from harness.datasets.ranking.grammars import FIELDS, ITEMS, NEGATED, OWN, Grammar


@dataclass(frozen=True)
class Row:
    """One judgement.

    Attributes:
        items: as the list names them; the last two are compared. label: ±1, of a triplet +1.
        strength: votes that the row stands for. line: its text, end included.
    """

    items: tuple[str, ...]
    label: int
    attribute: int
    strength: int
    line: str

    @property
    def key(self) -> str:
        """Who is compared and how it was judged: a repeated judgement has the same key."""
        return ",".join((*self.items, str(self.label), str(self.attribute)))

    @property
    def group(self) -> str:
        """What is compared, whichever stands first and whatever was judged."""
        *anchor, first, second = self.items
        return ",".join((*anchor, *sorted((first, second)), str(self.attribute)))

    @property
    def direction(self) -> int:
        """The label as it is where the compared items stand in the group's order."""
        return self.label if self.items[-2] <= self.items[-1] else -self.label


def parse(blob: bytes, where: str, grammar: Grammar) -> list[Row]:
    """The rows of a list, in order.

    Raises:
        UserError: it is empty, or no text, or a row is malformed; that row is named.
    """
    try:
        text = blob.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(where, "is not UTF-8 text", "give the original list") from error
    rows = []
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        try:
            rows.append(_row(line, grammar))
        except ValueError as error:
            fix = f"expected {','.join(grammar.columns)}"
            raise UserError(f"{where}, row {number}", str(error), fix) from error
    if not rows:
        raise UserError(where, "holds no row", f"give rows {','.join(grammar.columns)}")
    return rows


def _row(line: str, grammar: Grammar) -> Row:
    fields = _body(line).split(",")
    if len(fields) != len(grammar.columns):
        plural = "s" if len(fields) > 1 else ""
        raise ValueError(f"has {len(fields)} field{plural}, not {len(grammar.columns)}")
    found = dict(zip(grammar.columns, fields, strict=True))
    for column, text in found.items():
        if reason := FIELDS[column](text, grammar):
            raise ValueError(reason)
    items = tuple(found[column] for column in grammar.columns if column in ITEMS)
    if len(set(items)) < len(items):
        raise ValueError(f"compares {Counter(items).most_common(1)[0][0]} with itself")
    return Row(
        items=items,
        label=int(found.get("label", "1")),
        attribute=int(found.get("attribute", "0")),
        strength=int(found.get("strength", "1")),
        line=line,
    )


def _body(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def flip(line: str, grammar: Grammar) -> str:
    r"""The line of the opposite judgement; every other byte stays, the line's end too.

    A label is negated; without one, the nearer and the farther item change places.

    >>> from harness.datasets.ranking.grammars import GRAMMARS
    >>> flip("a.jpg,b.jpg,1,7,3\n", GRAMMARS["age"]), flip("25,73,0,1\n", GRAMMARS["food"])
    ('a.jpg,b.jpg,-1,7,3\n', '25,0,73,1\n')
    """
    fields = _body(line).split(",")
    if "label" in grammar.columns:
        place = grammar.columns.index("label")
        fields[place] = NEGATED[fields[place]]
    else:
        near, far = (grammar.columns.index(column) for column in ("p", "q"))
        fields[near], fields[far] = fields[far], fields[near]
    return ",".join(fields) + line[len(_body(line)) :]


def flip_own(line: str) -> str:
    r"""The line of the opposite judgement, of a line of ``OWN``.

    >>> flip_own("4,7,-1,0\n"), flip_own("1,2,3,1,0\n")
    ('4,7,1,0\n', '1,2,3,-1,0\n')
    """
    return flip(line, OWN[line.count(",") - 1])
