"""Progress of a long job: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from harness.common.terminal import Terminal

LINE_EVERY = 10.0
"""Seconds between two lines while counts change."""
UNCHANGED_LINE_EVERY = 60.0
"""Seconds between two lines while counts stay the same."""


class Meter:
    """Progress display: done/total, rate and time left.

    Example::

        with Meter("stages") as meter:
            meter.update(done=3, total=10, what="train ok")
    """

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.console = console or Terminal(stderr=True)
        self.title = title
        self._started = self._last = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_counts = (0, 0)

    def __enter__(self) -> Meter:
        self._started = self._last = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[what]}", style="dim", markup=False),
                console=self.console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=None, rate="", what="")
        return self

    def update(self, done: int, total: int, what: str) -> None:
        """Show the progress.

        Args:
            done: finished items.
            total: all items.
            what: the latest event, such as a stage that ended.
        """
        now = time.monotonic()
        rate = done / max(now - self._started, 1e-9)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=done, total=total, rate=f"{rate:.1f}/s", what=what[:60]
            )
        elif now - self._last >= (
            LINE_EVERY if (done, total) != self._last_counts else UNCHANGED_LINE_EVERY
        ):
            self._last, self._last_counts = now, (done, total)
            left = f", about {(total - done) / rate:.0f} s left" if done else ""
            self.console.print(
                f"{self.title}: {done}/{total}, {rate:.1f}/s{left} ({what})", soft_wrap=True
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
