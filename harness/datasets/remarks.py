"""Remarks on the pictures of a source, counted for the note of its copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


class Remarks:
    """What is to be said of a copy of a data set, beside its results."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._sentences: list[str] = []

    def add(self, remarks: Iterable[str]) -> None:
        """Count remarks on one picture."""
        self._counts.update(remarks)

    def say(self, sentence: str) -> None:
        """Add a remark on the whole, which may be empty."""
        self._sentences.append(sentence)

    def note(self) -> str:
        """Return all remarks, separated by semicolons, or an empty text."""
        counted = (f"{count:,} {remark}" for remark, count in sorted(self._counts.items()))
        return join_notes(*self._sentences, *counted)


def join_notes(*notes: str) -> str:
    """Join remarks by semicolons; empty ones are left out.

    >>> join_notes("from JPEG", "", "3 of 4 images")
    'from JPEG; 3 of 4 images'
    """
    return "; ".join(filter(None, notes))
