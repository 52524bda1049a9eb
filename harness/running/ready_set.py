"""What waits for what in a run. Runs nothing and knows no store: easy to be sure of."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from harness.planning.graph import Stage

Rank = tuple[int, str]
"""Place in the order of ready stages: a number, then a group, whose stages follow each other."""

NEAR = 64
"""How many ready stages are looked at for one of another group."""


class Agenda:
    """The ready set: which stages can start, and which cells wait for nothing any more.

    A step costs as much as the stage has readers, so that large plans are no slower a stage.

    Args:
        stages: key → stage to run; what else they read is there already.
        rank: what of several ready ones the lowest goes first, then the earliest.
        cells: cell id → what it waits for: keys of stages, ids of other cells; anything that is
            neither to run nor a cell here is there already.

    Attributes:
        closing: cells that wait for nothing; whoever takes one away says ``closed``.
        failed: stages that failed or can no longer run.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        rank: Callable[[Stage], Rank],
        cells: Mapping[str, Iterable[str]],
    ) -> None:
        self.stages, self._rank = stages, rank
        self.closing: list[str] = []
        self.failed: set[str] = set()
        self._ready: list[tuple[Rank, int, str]] = []
        self._count = itertools.count()
        self._unmet = {k: {r for r in s.reads() if r in stages} for k, s in stages.items()}
        self._open = {
            c: {w for w in waits if w in stages or w in cells} for c, waits in cells.items()
        }
        self._waiting: dict[str, list[str]] = defaultdict(list)
        for waits in (self._unmet, self._open):
            for who, whom in waits.items():
                for one in whom:
                    self._waiting[one].append(who)
        for key, unmet in self._unmet.items():
            if not unmet:
                self.push(key)
        self.closing += [cell for cell, waits in self._open.items() if not waits]

    def push(self, key: str) -> None:
        """A stage can start (again)."""
        heapq.heappush(self._ready, (self._rank(self.stages[key]), next(self._count), key))

    def peek(self) -> Stage | None:
        """The stage that goes next, if any can start."""
        while self._ready and self._ready[0][2] in self.failed:
            heapq.heappop(self._ready)
        return self.stages[self._ready[0][2]] if self._ready else None

    def pop(self, avoided: Collection[str] = ()) -> Stage:
        """Take the next stage: of the first of its rank, one whose group is not avoided.

        Args:
            avoided: groups; the first stage goes if all that are near it are of these.
        """
        passed: list[tuple[Rank, int, str]] = []
        while self.peek() is not None and len(passed) < NEAR:
            rank, group = self._ready[0][0]
            if passed and rank != passed[0][0][0]:
                break
            passed.append(heapq.heappop(self._ready))
            if group not in avoided:
                break
        chosen = passed[-1] if passed[-1][0][1] not in avoided else passed[0]
        passed.remove(chosen)
        for entry in passed:
            heapq.heappush(self._ready, entry)
        return self.stages[chosen[2]]

    def done(self, key: str) -> None:
        """A stage has ended well: its readers may start, its cells may close."""
        for who in self._waiting.pop(key, ()):
            unmet = self._unmet.get(who)
            if unmet is None:
                self._close(who, key)
            elif who not in self.failed:
                unmet.discard(key)
                if not unmet:
                    self.push(who)

    def fail(self, key: str) -> list[str]:
        """A stage has failed or cannot run; returns the stages that therefore cannot run either."""
        self.failed.add(key)
        lost, stack = [], [key]
        while stack:
            one = stack.pop()
            for who in self._waiting.pop(one, ()):
                if who not in self._unmet:
                    self._close(who, one)
                elif who not in self.failed:
                    self.failed.add(who)
                    lost.append(who)
                    stack.append(who)
        return lost

    def closed(self, cell: str) -> None:
        """A cell of ``closing`` has its record: cells that are made of others may close."""
        for who in self._waiting.pop(cell, ()):
            self._close(who, cell)

    def _close(self, cell: str, met: str) -> None:
        self._open[cell].discard(met)
        if not self._open[cell]:
            self.closing.append(cell)
