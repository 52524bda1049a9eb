"""Strips of first examples: what the inputs of a data set look like, as one small picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.report.site.format import slug
from harness.report.site.gallery import FOLDER

MOST = 8
"""Most examples of a strip: as many as fit beside a heading."""

_SIDE = 96
_GAP = 2


@dataclass(frozen=True)
class Samples:
    """First judged examples of a data set.

    Attributes:
        name: name of the data set.
        images: uint8 ``[n, C, H, W]``, at most ``MOST``.
        caption: what the pictures show.
    """

    name: str
    images: NDArray[Any]
    caption: str

    @property
    def path(self) -> str:
        """Address of the picture below the site's root."""
        return f"{FOLDER}/data-{slug(self.name)}.png"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height at which the page shows the picture, in CSS pixels."""
        height, width, _ = self.strip().shape
        scale = 48 / height
        return round(width * scale), 48

    def strip(self) -> NDArray[np.uint8]:
        """Return the examples side by side, RGBA ``[H, W, 4]``, with transparent gaps."""
        step = -(-max(self.images.shape[2:]) // _SIDE)
        images = self.images[:, :, ::step, ::step]
        n, channels, height, width = images.shape
        # Small pictures are enlarged by whole pixels, so that no browser blurs them.
        grow = max(1, 48 // height)
        tiles = np.zeros((n, height * grow, width * grow + _GAP, 4), dtype=np.uint8)
        big = images.repeat(grow, axis=2).repeat(grow, axis=3)
        tiles[:, :, :-_GAP, :3] = np.moveaxis(big, 1, 3) if channels == 3 else big[:, 0, ..., None]
        tiles[:, :, :-_GAP, 3] = 255
        return np.concatenate(list(tiles), axis=1)[:, :-_GAP]

    def save(self, site: Path) -> None:
        """Write the picture; several matrices share it."""
        path = site / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.strip()).save(path)
