"""Sizes of pictures: what a file's picture is resized to, and the part of it that is kept."""

from __future__ import annotations

from harness.config.dataset import Size

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; right and bottom are the first outside."""


def both_sides(size: Size) -> tuple[int, int]:
    """Return width and height; one number is the side of a square."""
    return (size, size) if isinstance(size, int) else size


def resizing(size: tuple[int, int], resize: Size | None) -> tuple[tuple[int, int], Box]:
    """Return width and height to which a picture is resized, and the box of that which is kept.

    Of one number, that is the middle square, as with ``Resize`` and ``CenterCrop`` of torchvision:
    the longer side is rounded down.

    >>> resizing((40, 30), 15), resizing((40, 30), (8, 8))
    (((20, 15), (2, 0, 17, 15)), ((8, 8), (0, 0, 8, 8)))
    """
    if not isinstance(resize, int):
        sides = resize or size
        return sides, (0, 0, *sides)
    short = min(size)
    width, height = (resize if side == short else int(resize * side / short) for side in size)
    left, top = round((width - resize) / 2), round((height - resize) / 2)
    return (width, height), (left, top, left + resize, top + resize)
