"""Guesses of a folder's layout, from which ``gauntlet new dataset`` writes a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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


def guess(files: Survey) -> Guess | None:
    """Return the first layout that explains almost all of a folder, else the best one.

    ``None``: none explains anything.

    Args:
        files: names of the files of a source, from ``survey``.

    Raises:
        UserError: an archive cannot be read.
    """
    best: Guess | None = None
    for guesser in GUESSERS:
        one = guesser(files)
        if one is not None and one.share >= ENOUGH:
            return _with_rest(one, files)
        if one is not None and (best is None or one.share > best.share):
            best = one
    return best


def _with_rest(found: Guess, files: Survey) -> Guess:
    """Return a guess of lists or arrays that says which pictures lie beside them."""
    if found.of_files or not files.pictures:
        return found
    said = f"not read: {len(files.pictures):,} pictures beside it ({files.pictures[0]})"
    return replace(found, said=(*found.said, said))
