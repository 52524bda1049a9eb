"""Threads that decode files ahead of a loop, in the order of its items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from harness.common.errors import UserError
from harness.datasets.files.source_files import SourceFile
from harness.datasets.mistakes import Mistakes

MOST_WORKERS = 8
"""Limit of threads: each may hold a picture of 80 megapixels and its copies."""
_AHEAD = 2
"""Items that wait for each thread, so that none of them waits for the loop."""
HEAVY = 10_000
"""Bytes of a file from which a thread helps. On two CPUs, PNGs of 8 kB (64 x 64) took 2.6 s for
10,000 with threads and 2.3 s without, of 17 kB (96 x 96) 0.35 s and 0.43 s for 1,000; JPEGs of 5 kB
0.45 s and 0.29 s, of 11 kB (224 x 224) 0.41 s and 0.48 s: small ones wait for the interpreter."""

Decoded = TypeVar("Decoded")
Item = TypeVar("Item")
Result = TypeVar("Result")


def decode_files(
    files: Iterable[SourceFile], decode: Callable[[SourceFile], Decoded], mistakes: Mistakes
) -> Iterator[tuple[SourceFile, Decoded]]:
    """Yield each file with what ``decode`` makes of it, in order; large files in threads.

    Args:
        files: as ``find_files`` yields them.
        decode: called from threads.
        mistakes: gets each ``UserError`` that ``decode`` raises.
    """

    def attempt(file: SourceFile) -> tuple[SourceFile, Decoded | UserError]:
        try:
            return file, decode(file)
        except UserError as error:
            return file, error

    for file, result in map_ordered(attempt, files, heavy=lambda file: file.size >= HEAVY):
        if isinstance(result, UserError):
            mistakes.add(result)
        else:
            yield file, result


def map_ordered(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int | None = None,
    *,
    heavy: Callable[[Item], bool] = lambda item: True,
) -> Iterator[Result]:
    """Yield ``function(item)`` of each item in order, computed by threads ahead of the loop.

    Items are taken, and light ones computed, by the caller's thread. At most two items a thread are
    ahead, so memory does not grow with their number. An error of an item is raised in its turn.

    Args:
        function: safe in threads; they help where it releases the interpreter's lock.
        items: may be endless.
        workers: number of threads; ``None``: of the CPUs that this process may use, at most 8.
        heavy: whether an item is worth a thread.
    """
    workers = workers or min(MOST_WORKERS, len(os.sched_getaffinity(0)))
    if workers == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    pending: deque[Callable[[], Result]] = deque()
    try:
        for item in items:
            submitted = heavy(item)
            pending.append(
                pool.submit(function, item).result if submitted else partial(function, item)
            )
            if len(pending) > _AHEAD * workers:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)
