"""Tensors between processes, in sealed memory files.

A message names the tensors by type, shape and place in a memory file (memfd) that its sender has
filled. The receiver maps the file, which can neither shrink nor grow, and copies what it reads:
no process ever computes with memory that another one can change.

Attacks exchange the same shapes thousands of times, so that what follows from a description is
remembered by its bytes.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import struct
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from harness.runtime.contracts import ContractError

MAX_BYTES = 1 << 30
"""Largest size of one message's tensors; honest ones are far smaller."""
SMALLEST_BYTES = 1 << 16
ALIGNMENT = 64
MAX_DIMENSIONS = 8
MAX_TENSORS = 32
"""Largest number of tensors in a message; a backward pass names outputs by a bit each."""
REMEMBERED = 256
"""Descriptions that are remembered at once."""
FUTURE_WRITE = 0x10  # F_SEAL_FUTURE_WRITE: the mapping of the owner remains the only writable one
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
DTYPES = (torch.float32, torch.int64, torch.uint8)
"""Types that cross; a description holds the position."""
HEAD = struct.Struct("<BBBxQ")
"""Type, whether the order is N, H, W, C, number of dimensions, first byte; the shape follows."""


class Layout(NamedTuple):
    """Place of a tensor in a memory file.

    Attributes:
        dtype: its type.
        shape: its shape.
        offset: its first byte.
        channels_last: whether its values lie in the order N, H, W, C.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    channels_last: bool

    @property
    def nbytes(self) -> int:
        """Size of the tensor."""
        return math.prod(self.shape) * self.dtype.itemsize

    def pack(self) -> bytes:
        """Return the form that a message holds."""
        head = HEAD.pack(DTYPES.index(self.dtype), self.channels_last, len(self.shape), self.offset)
        return head + struct.pack(f"<{len(self.shape)}Q", *self.shape)


def unpack(block: bytes) -> list[Layout]:
    """Return the layouts that a message holds.

    Raises:
        ContractError: it holds something else, or what it describes is too large. An empty tensor
            counts by its other sizes, which torch cannot represent if they are huge.
    """
    found: list[Layout] = []
    place, total = 0, 0
    try:
        while place < len(block):
            dtype, last, dimensions, offset = HEAD.unpack_from(block, place)
            place += HEAD.size
            known = dtype < len(DTYPES) and last <= (dimensions == 4)
            if not known or dimensions > MAX_DIMENSIONS or offset % ALIGNMENT:
                raise ContractError("a description of a tensor that does not exist")
            shape = struct.unpack_from(f"<{dimensions}Q", block, place)
            place += 8 * dimensions
            total += math.prod(max(1, size) for size in shape) * DTYPES[dtype].itemsize
            if total > MAX_BYTES or len(found) == MAX_TENSORS:
                raise ContractError(
                    f"a message of more than {MAX_TENSORS} tensors or {MAX_BYTES} bytes"
                )
            found.append(Layout(DTYPES[dtype], shape, offset, bool(last)))
    except struct.error as error:
        raise ContractError("a description of a tensor ends too early") from error
    return found


def layouts_of(tensors: Sequence[Tensor]) -> list[Layout]:
    """Return where tensors lie in a file that holds them one after the other.

    Raises:
        ContractError: a tensor has a type that does not cross, or they are too large.
    """
    found, offset = [], 0
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            names = ", ".join(str(one).removeprefix("torch.") for one in DTYPES)
            name = str(tensor.dtype).removeprefix("torch.")
            raise ContractError(f"a tensor of type {name}; what crosses is {names}")
        layout = Layout(tensor.dtype, tuple(tensor.shape), offset, is_channels_last(tensor))
        found.append(layout)
        offset += -(-layout.nbytes // ALIGNMENT) * ALIGNMENT
    if len(found) > MAX_TENSORS:
        raise ContractError(f"{len(found)} tensors in one message; at most {MAX_TENSORS}")
    if offset > MAX_BYTES:
        raise ContractError(f"tensors of {offset} bytes in one message; at most {MAX_BYTES}")
    return found


def is_channels_last(tensor: Tensor) -> bool:
    """Return whether a tensor's values lie in the order N, H, W, C and in no other."""
    return (
        tensor.ndim == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


class Outbox:
    """Memory file in which a process puts the tensors of its next message."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._known: dict[object, tuple[bytes, list[Tensor]]] = {}

    def put(self, tensors: Sequence[Tensor]) -> tuple[bytes, int | None, list[Tensor]]:
        """Copy tensors into the file, over those of the last message.

        Returns:
            Their description; a descriptor that must be sent along and closed, or ``None`` if the
            receiver has this file already; and the copies, where nobody else can change them.

        Raises:
            ContractError: a tensor has a type that does not cross, or they are too large.
        """
        kind = tuple((one.dtype, one.shape, one.stride()) for one in tensors)
        descriptor, known = None, self._known.get(kind)
        if known is None:
            layouts = layouts_of(tensors)
            size = max((one.offset + one.nbytes for one in layouts), default=0)
            if self._map is None or size > len(self._map):
                self._map, descriptor = make_file(size)
                self._known.clear()
            views = [view(self._map, one) for one in layouts]
            known = b"".join(one.pack() for one in layouts), views
            if len(self._known) < REMEMBERED:
                self._known[kind] = known
        for target, tensor in zip(known[1], tensors, strict=True):
            # a copy with a history would keep the graph of every tensor that was ever put here
            target.copy_(tensor.detach())
        return known[0], descriptor, known[1]


class Inbox:
    """Memory file of another process, mapped read-only."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._known: dict[bytes, list[Tensor]] = {}

    def accept(self, descriptor: int) -> None:
        """Map a file that arrived with a message, in place of the last one.

        Args:
            descriptor: descriptor of the file; it stays open.

        Raises:
            ContractError: the file is not sealed, so that reading it could crash this process, it
                is too large, or it cannot be mapped.
        """
        try:
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
            size = os.fstat(descriptor).st_size
            # reading a hole in a file of huge pages crashes where none is free
            huge = os.fstatvfs(descriptor).f_bsize != mmap.PAGESIZE
            if seals & SEALS != SEALS or huge or not 0 < size <= 2 * MAX_BYTES:
                raise OSError
            mapped = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError:
            raise ContractError(
                "a message came with a file that is not a sealed memory file"
            ) from None
        self._known.clear()
        self._map = mapped

    def views(self, block: bytes) -> list[Tensor]:
        """Return tensors over the file, whose owner may change them at any time.

        Args:
            block: their description.

        Raises:
            ContractError: one does not lie in the file.
        """
        found = self._known.get(block)
        if found is None:
            layouts = unpack(block)
            room = 0 if self._map is None else len(self._map)
            if any(one.nbytes and one.offset + one.nbytes > room for one in layouts):
                raise ContractError("a tensor lies outside its file")
            found = [view(self._map, one) for one in layouts]
            if len(self._known) < REMEMBERED:
                self._known[block] = found
        return found

    def take(self, block: bytes) -> list[Tensor]:
        """Return copies of tensors in the file; see ``views``."""
        return [one.clone() for one in self.views(block)]


def make_file(size: int) -> tuple[mmap.mmap, int]:
    """Return a new memory file of at least ``size`` bytes: its mapping and its descriptor."""
    size = max(SMALLEST_BYTES, 1 << (size - 1).bit_length())
    descriptor = os.memfd_create("tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    mapped = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    with contextlib.suppress(OSError):  # kernels before 5.1 lack this seal
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, FUTURE_WRITE)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS | fcntl.F_SEAL_SEAL)
    return mapped, descriptor


def view(mapped: mmap.mmap | None, layout: Layout) -> Tensor:
    """Return a tensor over a part of a mapped file, inside which it lies."""
    count = math.prod(layout.shape)
    if count == 0 or mapped is None:
        return torch.empty(layout.shape, dtype=layout.dtype)
    with warnings.catch_warnings():
        # a file of another process is mapped read-only, and only ever copied
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        flat = torch.frombuffer(mapped, dtype=layout.dtype, count=count, offset=layout.offset)
    if not layout.channels_last:
        return flat.view(layout.shape)
    n, c, h, w = layout.shape
    return flat.view(n, h, w, c).permute(0, 3, 1, 2)
