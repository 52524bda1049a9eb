"""Threads that work ahead of a loop, in the order of its items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

MOST_WORKERS = 8
"""Limit of threads: each may hold a picture of 80 megapixels and its copies."""
_AHEAD = 2
"""Items that wait for each thread, so that none of them waits for the loop."""

Item = TypeVar("Item")
Result = TypeVar("Result")


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
