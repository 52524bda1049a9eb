"""GPUs: which can be used, and whose turn it is; each runs one stage at a time."""

from __future__ import annotations

from collections.abc import Iterable


class Leases:
    """Hands out GPUs by number; without any (on the CPU), every stage may run.

    >>> leases = Leases(["0", "1"])
    >>> leases.take("a"), leases.take("b"), leases.any_free
    ('0', '1', False)
    >>> leases.give("a")
    >>> leases.take("c")
    '0'
    """

    def __init__(self, numbers: Iterable[str] = ()) -> None:
        self._free = list(numbers)
        self._held: dict[str, str] = {}
        self._unlimited = not self._free

    @property
    def any_free(self) -> bool:
        """Whether another stage may start."""
        return self._unlimited or bool(self._free)

    def take(self, key: str) -> str | None:
        """A GPU for a stage, or ``None`` on the CPU."""
        if self._unlimited:
            return None
        self._held[key] = self._free.pop(0)
        return self._held[key]

    def give(self, key: str) -> None:
        """The stage has ended; on the CPU it held nothing."""
        if key in self._held:
            self._free.append(self._held.pop(key))
