"""Comparison lists as text: one judgement a line, in the grammar of the set that it belongs to.

A line is kept as it is, so that a list with some judgements turned differs in nothing else.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.errors import UserError

ITEMS = ("u", "v", "a", "p", "q")
"""Columns that name items: the two of a pair, or anchor, nearer and farther of a triplet."""


@dataclass(frozen=True)
class Grammar:
    """The columns of a list, in order, separated by commas.

    Attributes:
        columns: of ``_FIELDS``. attributes: how many there are.
        items: items are numbers below this; ``None``: they are names of files.
    """

    columns: tuple[str, ...]
    attributes: int = 1
    items: int | None = None

    @property
    def arity(self) -> int:
        """Items a row: 2 or 3."""
        return sum(column in ITEMS for column in self.columns)


GRAMMARS = {
    "age": Grammar(("u", "v", "label", "pair", "strength")),
    "lfw10": Grammar(("u", "v", "label", "attribute", "pair", "strength"), attributes=10),
    "food": Grammar(("a", "p", "q", "weight"), items=100),
}
"""THE table of grammars, by the set whose authors use it."""

OWN = {
    2: Grammar(("u", "v", "label", "attribute")),
    3: Grammar(("a", "p", "q", "label", "attribute")),
}
"""Arity → what we write for sets that come without a list: rows of ``y``."""


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
        if reason := _FIELDS[column](text, grammar):
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


def _whole(text: str, column: str, first: int = 0, stop: int | None = None) -> str:
    """Why a text is not a whole number of this range in plain digits, or nothing."""
    if re.fullmatch(r"0|[1-9][0-9]{0,17}", text) and first <= int(text) < (stop or 10**18):
        return ""
    limits = f"from {first} on" if stop is None else f"of {first} to {stop - 1}"
    return f"{column} {text!r} is not a whole number {limits}"


def _item(text: str, grammar: Grammar) -> str:
    if grammar.items is not None:
        return _whole(text, "item", stop=grammar.items)
    plain = text.strip() == text and text.isprintable() and not re.search(r"[/\\]", text)
    return "" if text and plain else f"{text!r} is not the name of a file"


def _label(text: str, grammar: Grammar) -> str:
    return "" if text in _NEGATED else f"label {text!r} is neither 1 nor -1"


def _attribute(text: str, grammar: Grammar) -> str:
    return _whole(text, "attribute", stop=grammar.attributes)


def _weight(text: str, grammar: Grammar) -> str:
    # A weight that nobody would heed: a list that needs one is not of this form.
    return "" if text == "1" else f"weight {text!r} is not 1"


_FIELDS: Mapping[str, Callable[[str, Grammar], str]] = {
    **dict.fromkeys(ITEMS, _item),
    "label": _label,
    "attribute": _attribute,
    "pair": lambda text, grammar: _whole(text, "pair id"),
    "strength": lambda text, grammar: _whole(text, "strength", first=1),
    "weight": _weight,
}
"""Column → why a text cannot stand in it, or nothing."""
_NEGATED = {"1": "-1", "-1": "1"}


def flip(line: str, grammar: Grammar) -> str:
    r"""The line of the opposite judgement; every other byte stays, the line's end too.

    A label is negated; without one, the nearer and the farther item change places.

    >>> flip("a.jpg,b.jpg,1,7,3\n", GRAMMARS["age"]), flip("25,73,0,1\n", GRAMMARS["food"])
    ('a.jpg,b.jpg,-1,7,3\n', '25,0,73,1\n')
    """
    fields = _body(line).split(",")
    if "label" in grammar.columns:
        place = grammar.columns.index("label")
        fields[place] = _NEGATED[fields[place]]
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
