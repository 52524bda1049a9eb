"""Errors that a user can correct: one line each and exit code 1, without a traceback."""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can correct.

    Attributes:
        where: file, line, command or name at fault.
        what: what is wrong with it.
        fix: what to do about it.
    """

    def __init__(self, where: str, what: str, fix: str) -> None:
        super().__init__(where, what, fix)
        self.where = where
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        # names of files may hold line ends, and a line of their own would pass for ours
        return "\\n".join(f"{self.where}: {self.what}; {self.fix}".splitlines())


class UserErrors(UserError):
    """Several mistakes reported at once, one line each.

    Attributes:
        errors: the single mistakes, in the order of reading; never empty.
    """

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = tuple(one for error in errors for one in split(error))
        first = self.errors[0]
        super().__init__(first.where, first.what, first.fix)
        self.args = (self.errors,)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


def split(error: UserError) -> tuple[UserError, ...]:
    """Return the single mistakes in an error: the list of ``UserErrors``, or the error alone."""
    return error.errors if isinstance(error, UserErrors) else (error,)
