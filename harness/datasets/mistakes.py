"""Mistakes of a data source, gathered so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.common.errors import UserError, UserErrors, split

MOST = 20
"""Mistakes that are printed; a folder of a million wrong files has one cause, not a million."""


class Mistakes:
    """Mistakes found while a source is read.

    Args:
        where: the source, for the line that counts them.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.count = 0
        self._first: list[UserError] = []

    def add(self, error: UserError) -> None:
        """Add a mistake, or each of several."""
        for one in split(error):
            self.count += 1
            if len(self._first) < MOST:
                self._first.append(one)

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Add the mistake that the block ends in, and go on after the block."""
        try:
            yield
        except UserError as error:
            self.add(error)

    def check(self) -> None:
        """Raise the mistakes, if there are any.

        Raises:
            UserError: the only mistake; of several, the first 20 and their count.
        """
        if self.count == 1:
            raise self._first[0]
        if self.count > MOST:
            what = f"has {self.count:,} mistakes, of which these are the first {MOST}"
            raise UserErrors(
                [*self._first, UserError(self.where, what, "mend their cause, then try again")]
            )
        if self._first:
            raise UserErrors(self._first)
