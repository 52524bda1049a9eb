"""Grammars of comparison lists: which columns a row has, and what may stand in each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ITEMS = ("u", "v", "a", "p", "q")
"""Columns that name items: the two of a pair, or anchor, nearer and farther of a triplet."""


NEGATED = {"1": "-1", "-1": "1"}
"""Label, as it is written → the opposite one."""


@dataclass(frozen=True)
class Grammar:
    """The columns of a list, in order, separated by commas.

    Attributes:
        columns: of ``FIELDS``. attributes: how many there are.
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
    return "" if text in NEGATED else f"label {text!r} is neither 1 nor -1"


def _attribute(text: str, grammar: Grammar) -> str:
    return _whole(text, "attribute", stop=grammar.attributes)


def _weight(text: str, grammar: Grammar) -> str:
    # A weight that nobody would heed: a list that needs one is not of this form.
    return "" if text == "1" else f"weight {text!r} is not 1"


FIELDS: Mapping[str, Callable[[str, Grammar], str]] = {
    **dict.fromkeys(ITEMS, _item),
    "label": _label,
    "attribute": _attribute,
    "pair": lambda text, grammar: _whole(text, "pair id"),
    "strength": lambda text, grammar: _whole(text, "strength", first=1),
    "weight": _weight,
}
"""Column → why a text cannot stand in it, or nothing."""
