"""Outcomes of a check other than "the promise holds", and how a check raises them."""

from __future__ import annotations


class PromiseBroken(Exception):
    """Promise that does not hold; the message says what was seen."""


class Inconclusive(Exception):
    """Promise that cannot be tested on this machine; the message says why."""


def expect(condition: object, seen: object) -> None:
    """Check a condition.

    Args:
        condition: what must be true.
        seen: what was seen, for the message.

    Raises:
        PromiseBroken: the condition is false.
    """
    if not condition:
        raise PromiseBroken(str(seen)[:300])
