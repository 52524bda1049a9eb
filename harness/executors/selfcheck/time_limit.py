"""Time limit for code of the harness itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.executors.selfcheck.errors import PromiseBroken


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt a block that hangs, because an executor that never returns breaks a promise too.

    It works in the main thread only, which receives the signals; elsewhere it does nothing.

    Args:
        seconds: longest time of the block.

    Raises:
        PromiseBroken: the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise PromiseBroken(f"the harness itself hung for {seconds:g} s")

    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
