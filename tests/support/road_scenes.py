"""Images and class maps of road scenes, made for a test."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from harness.datasets.hashing import draws


def png(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=1, **options)
    return buffer.getvalue()


def colors(name: str, height: int, width: int) -> np.ndarray:
    """An RGB image like no other, flat in each quarter."""
    values = (draws(name, 12) * 256).astype(np.uint8).reshape(2, 2, 3)
    return np.kron(values, np.ones((height // 2, width // 2, 1), dtype=np.uint8))


def labels(name: str, height: int, width: int, among: list[int]) -> np.ndarray:
    """A class map in blocks of 8 by 8 pixels."""
    chosen = (draws(f"{name}/labels", height * width // 64) * len(among)).astype(int)
    blocks = np.array(among, dtype=np.uint8)[chosen].reshape(height // 8, width // 8)
    return np.kron(blocks, np.ones((8, 8), dtype=np.uint8))
