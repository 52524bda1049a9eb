"""Whether tensors were written to, found without reading those that are mapped from files.

Data sets are mapped copy-on-write: the kernel gives a process its own copy of each page that it
writes to, and counts these copies. So a write to a set of many GB is found in milliseconds, where
checksums would read all of it twice. Where the system does not count them, checksums are what is
left.

It finds mistakes, not malice: code in the same process can map other memory in place of the set.
What a module returns is judged against the harness's own copy of the data, in another process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

SMAPS = Path("/proc/self/smaps")
"""The system's list of this process's maps, with counts of their pages."""
COPIES = ("Anonymous:", "Swap:")
"""Lines that count a map's pages of this process's own, in memory or swapped out."""
SMALL = 1 << 24
"""Bytes up to which a checksum is as fast (10 ms) as the list of maps is read."""


class WriteWatch:
    """Watch over tensors from its making on.

    Args:
        tensors: tensors that nothing should write to.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        large = [one for one in tensors if one.device.type == "cpu" and extent(one)[1] > SMALL]
        # a page that was written to before is not counted again
        pristine = [one for one, pages in zip(large, copied(large), strict=True) if pages == 0]
        known = set(map(id, pristine))
        self._mapped, self._others = pristine, [one for one in tensors if id(one) not in known]
        self._checksums = [checksum(one) for one in self._others]

    @property
    def written(self) -> bool:
        """Whether a tensor was written to; in a mapped file even with the value it had."""
        if any(copied(self._mapped)):
            return True
        return self._checksums != [checksum(one) for one in self._others]


def extent(tensor: Tensor) -> tuple[int, int]:
    """Return the first address and the number of bytes of a tensor's memory."""
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def checksum(tensor: Tensor) -> int:
    """Return the CRC-32 of a tensor's values."""
    return zlib.crc32(tensor.cpu().contiguous().numpy().data)


def copied(tensors: Sequence[Tensor]) -> list[int]:
    """Return the KiB of each tensor's maps that this process has written to.

    It is −1 for a tensor whose maps the system does not list.
    """
    maps = list(memory_maps()) if tensors else []
    found = []
    for first, size in map(extent, tensors):
        own = [pages for start, end, pages in maps if start < first + size and first < end]
        found.append(sum(own) if own else -1)
    return found


def memory_maps() -> Iterator[tuple[int, int, int]]:
    """Yield first address, end and written KiB of each map whose written pages are counted."""
    try:
        lines = SMAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    start = end = 0
    pages: list[int] = []
    for line in [*lines, "0-0"]:
        name, _, rest = line.partition(" ")
        if name in COPIES:
            pages.append(int(rest.split()[0]))
        elif not name.endswith(":"):  # a line of addresses begins a map
            if pages:  # else this system does not count them
                yield start, end, sum(pages)
            start, end = (int(one, 16) for one in name.split("-"))
            pages = []
