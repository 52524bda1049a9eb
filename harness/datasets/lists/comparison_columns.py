"""Columns of comparison lists, and the values that each may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

ITEMS = ("u", "v", "a", "p", "q")
"""Columns of items: both of a pair, or anchor, nearer and farther item of a triplet."""
NEGATED = {"1": "-1", "-1": "1"}
"""Label in a list → opposite label."""


@dataclass(frozen=True)
class Grammar:
    """Columns of a list, and the values that they may hold.

    Attributes:
        columns: keys of ``FIELDS``, in order.
        attributes: number of attributes.
        items: number of items that are known by number; ``None``: items are file names.
    """

    columns: Sequence[str]
    attributes: int = 1
    items: int | None = None


def _check_whole_number(text: str, column: str, first: int = 0, stop: int | None = None) -> str:
    """Explain why a text is not a whole number of this range in plain digits; empty if it is."""
    if re.fullmatch(r"0|[1-9][0-9]{0,17}", text) and first <= int(text) < (stop or 10**18):
        return ""
    limits = f"from {first} on" if stop is None else f"of {first} to {stop - 1}"
    return f"{column} {text!r} is not a whole number {limits}"


def _check_item(text: str, grammar: Grammar) -> str:
    if grammar.items is not None:
        return _check_whole_number(text, "item", stop=grammar.items)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return f"{text} is in quotes"
    plain = text.strip() == text and text.isprintable() and not re.search(r"[/\\]", text)
    return "" if text and plain else f"{text!r} is not the name of a file"


def _check_label(text: str, grammar: Grammar) -> str:
    return "" if text in NEGATED else f"label {text!r} is neither 1 nor -1"


def _check_attribute(text: str, grammar: Grammar) -> str:
    return _check_whole_number(text, "attribute", stop=grammar.attributes)


def _check_weight(text: str, grammar: Grammar) -> str:
    # The harness ignores weights, so it refuses lists that need them.
    return "" if text == "1" else f"weight {text!r} is not 1"


FIELDS: Mapping[str, Callable[[str, Grammar], str]] = {
    **dict.fromkeys(ITEMS, _check_item),
    "label": _check_label,
    "attribute": _check_attribute,
    "pair": lambda text, grammar: _check_whole_number(text, "pair id"),
    "strength": lambda text, grammar: _check_whole_number(text, "strength", first=1),
    "weight": _check_weight,
}
"""Column → check of a text in it, which returns the reason to refuse it, or an empty text."""
