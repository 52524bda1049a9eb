"""Checks of the self-check: each tests one promise of every executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.executors.selfcheck.context import SelfCheckContext


@dataclass(frozen=True)
class PromiseCheck:
    """Promise of every executor, with a function that tests it.

    Attributes:
        name: name on the command line.
        promise: the promise in one line.
        run: function that returns if the promise holds. It raises ``PromiseBroken`` or
            ``Inconclusive`` otherwise.
    """

    name: str
    promise: str
    run: Callable[[SelfCheckContext], None]


def promise(run: Callable[[SelfCheckContext], None]) -> PromiseCheck:
    """Make a check of a function; its name becomes the check's name, its docstring the promise."""
    text = (run.__doc__ or "").rstrip(".").replace("``", "")
    return PromiseCheck(run.__name__.strip("_").replace("_", "-"), text, run)
