"""Pillow's warnings of damaged metadata, heard by the thread that reads the picture.

``warnings.catch_warnings`` changes the state of the whole process: of two threads, one would hear
the other's warnings, or none.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)
"""Warnings in a block of this thread; ``None`` outside of such blocks."""
_lock = threading.Lock()
_show_elsewhere = warnings.showwarning


@contextmanager
def hear_warnings() -> Iterator[list[str]]:
    """Collect the warnings that Pillow gives in this thread within the block."""
    _listen()
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def _listen() -> None:
    """Put ``_show`` in Python's place for it, unless it is there.

    Once a process is enough, but ``catch_warnings`` of others takes it away with their filters.
    """
    global _show_elsewhere
    if warnings.showwarning is _show:
        return
    with _lock:
        if warnings.showwarning is not _show:
            _show_elsewhere = warnings.showwarning
            warnings.filterwarnings("always", module=r"PIL\.")
            warnings.showwarning = _show


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    heard = _heard.get()
    if heard is None:
        _show_elsewhere(message, category, filename, lineno, file, line)
    else:
        heard.append(str(message))
