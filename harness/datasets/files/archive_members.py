"""Members of an archive, as the readers of tar and zip give them to the rules of ``archives``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Refusal = tuple[str, str]
"""What is wrong with a member, and what to do about it."""


class DamagedError(ValueError):
    """Damage of an archive, which no reader goes on after."""


class MemberError(ValueError):
    """Damage of one member; the others can still be read."""


@dataclass(frozen=True, slots=True)
class Member:
    """Member of an archive.

    Attributes:
        name: as it is stored, with slashes.
        size: declared size in bytes.
        folder: whether it is a folder.
        refusal: why it cannot be read as a file: a link, a device, encrypted; ``None``: it can.
        read: returns its content, of exactly ``size`` bytes; before the next member is asked for.
    """

    name: str
    size: int
    folder: bool
    refusal: Refusal | None
    read: Callable[[], bytes]
