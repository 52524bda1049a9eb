"""Ready set of a run: stages whose inputs exist. It runs nothing and knows no store."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from harness.planning.graph import Stage

Rank = tuple[int, str]
"""Place in the order of ready stages: a number, then a group, whose stages follow each other."""

NEAR = 64
"""Number of ready stages that are searched for one of another group."""


class ReadySet:
    """Stages that can start, and cells whose stages have all ended.

    A step costs as much as the stage has readers, so a stage of a large plan costs no more.

    Args:
        stages: key → stage to run; their other inputs exist already.
        rank: function that gives a stage's place; the lowest starts first, then the earliest.
        cells: cell id → keys of stages and ids of cells that it waits for; a name that is neither
            to run nor a cell here exists already.

    Attributes:
        closing: cells that wait for nothing; the caller removes one and then calls ``closed``.
        failed: keys of stages that failed or can no longer run.
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
        self._ready: list[tuple[Rank, int, str]] = []  # heap; the count breaks ties
        self._count = itertools.count()
        # what each stage, and each cell, still waits for
        self._unmet = {k: {r for r in s.reads() if r in stages} for k, s in stages.items()}
        self._open = {
            c: {w for w in waits if w in stages or w in cells} for c, waits in cells.items()
        }
        # the same the other way round: who has to be notified when a stage or cell is done
        self._waiting: dict[str, list[str]] = defaultdict(list)
        for waits in (self._unmet, self._open):
            for reader, inputs in waits.items():
                for one in inputs:
                    self._waiting[one].append(reader)
        for key, unmet in self._unmet.items():
            if not unmet:
                self.push(key)
        self.closing += [cell for cell, waits in self._open.items() if not waits]

    def push(self, key: str) -> None:
        """Add a stage that can start (again)."""
        heapq.heappush(self._ready, (self._rank(self.stages[key]), next(self._count), key))

    def peek(self) -> Stage | None:
        """Return the stage that starts next, or ``None`` where none can."""
        # a stage that was ruled out after it was added is still in the heap: skip it
        while self._ready and self._ready[0][2] in self.failed:
            heapq.heappop(self._ready)
        return self.stages[self._ready[0][2]] if self._ready else None

    def pop(self, avoid: Collection[str] = ()) -> Stage:
        """Remove and return the next stage, of the best rank and outside some groups if possible.

        Args:
            avoid: groups; a stage of one of them is taken only if all near it are of these, too.
        """
        # walk down the heap, at most NEAR entries of one rank, to the first of another group
        skipped: list[tuple[Rank, int, str]] = []
        while self.peek() is not None and len(skipped) < NEAR:
            rank, group = self._ready[0][0]
            if skipped and rank != skipped[0][0][0]:
                break
            skipped.append(heapq.heappop(self._ready))
            if group not in avoid:
                break
        # the last one ended the walk by its group, or there was none: then the first goes
        chosen = skipped[-1] if skipped[-1][0][1] not in avoid else skipped[0]
        skipped.remove(chosen)
        for entry in skipped:
            heapq.heappush(self._ready, entry)
        return self.stages[chosen[2]]

    def done(self, key: str) -> None:
        """Note that a stage has ended well: its readers may start, its cells may close."""
        for reader in self._waiting.pop(key, ()):
            unmet = self._unmet.get(reader)
            if unmet is None:  # not a stage, so a cell
                self._close(reader, key)
            elif reader not in self.failed:
                unmet.discard(key)
                if not unmet:
                    self.push(reader)

    def fail(self, key: str) -> list[str]:
        """Note that a stage has failed; return the stages that therefore cannot run either."""
        self.failed.add(key)
        lost, stack = [], [key]
        # failure spreads along the readers, each visited once; a cell closes on failure as well,
        # since its record says what failed
        while stack:
            one = stack.pop()
            for reader in self._waiting.pop(one, ()):
                if reader not in self._unmet:
                    self._close(reader, one)
                elif reader not in self.failed:
                    self.failed.add(reader)
                    lost.append(reader)
                    stack.append(reader)
        return lost

    def closed(self, cell: str) -> None:
        """Note that a cell of ``closing`` has its record: ensembles that wait for it may close."""
        for reader in self._waiting.pop(cell, ()):
            self._close(reader, cell)

    def _close(self, cell: str, met: str) -> None:
        """Remove one thing that a cell waits for."""
        self._open[cell].discard(met)
        if not self._open[cell]:
            self.closing.append(cell)
