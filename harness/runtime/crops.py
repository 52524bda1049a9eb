"""Centre crop of pictures that are stored larger than a network's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


def centre_crop(images: T, shape: Sequence[int]) -> T:
    """Return the middle of pictures, as a view: a mapped file is neither read nor copied.

    Args:
        images: array or tensor ``[…, H, W]``.
        shape: shape that ends with the height and width of the crop. An odd rest stays below and
            to the right.

    >>> import numpy as np
    >>> centre_crop(np.arange(25).reshape(5, 5), (2, 3)).tolist()
    [[6, 7, 8], [11, 12, 13]]
    """
    height, width = shape[-2:]
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    middle: T = images[..., top : top + height, left : left + width]
    return middle
