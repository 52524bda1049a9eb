"""Guesses of a folder's layout, from which ``gauntlet new dataset`` writes a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.datasets.guesses import arrays, class_folders, idx, label_maps, pixel_rows, tables
from harness.datasets.guesses.survey import Guess, Survey, survey

__all__ = ["GUESSERS", "Guess", "Survey", "guess", "survey"]

GUESSERS: tuple[Callable[[Survey], Guess | None], ...] = (
    label_maps.guess,
    class_folders.guess,
    tables.guess,
    idx.guess,
    arrays.guess,
    pixel_rows.guess,
)
"""Guessers, in the order in which they are asked."""
ENOUGH = 0.9
"""Share of the pictures at which no other guess is tried."""


def guess(source: Path) -> Guess | None:
    """Return the first layout that explains almost all of a folder, else the best one.

    ``None``: none explains anything.

    Args:
        source: a folder, with or without archives in it, or one archive.

    Raises:
        UserError: the folder or an archive cannot be read.
    """
    found = survey(source)
    best: Guess | None = None
    for guesser in GUESSERS:
        one = guesser(found)
        if one is not None and one.share >= ENOUGH:
            return one
        if one is not None and (best is None or one.share > best.share):
            best = one
    return best
