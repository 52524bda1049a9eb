"""GPUs of a run: each runs one stage at a time."""

from __future__ import annotations

from collections.abc import Iterable


class GpuPool:
    """Pool of GPU numbers; an empty pool (on the CPU) lets every stage run.

    Args:
        numbers: numbers of the GPUs.

    >>> pool = GpuPool(["0", "1"])
    >>> pool.acquire("a"), pool.acquire("b"), pool.any_free
    ('0', '1', False)
    >>> pool.release("a")
    >>> pool.acquire("c")
    '0'
    """

    def __init__(self, numbers: Iterable[str] = ()) -> None:
        self._free = list(numbers)
        self._used: dict[str, str] = {}
        self._unlimited = not self._free

    @property
    def any_free(self) -> bool:
        """Whether another stage may start."""
        return self._unlimited or bool(self._free)

    def acquire(self, key: str) -> str | None:
        """Reserve a GPU for a stage; return its number, or ``None`` on the CPU."""
        if self._unlimited:
            return None
        self._used[key] = self._free.pop(0)
        return self._used[key]

    def release(self, key: str) -> None:
        """Return an ended stage's GPU to the pool, if it had one."""
        if key in self._used:
            self._free.append(self._used.pop(key))
