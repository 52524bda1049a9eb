"""Scenes of several handwritten digits on crops of two photographs, with a class map."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Card, Dataset, Facts, Ids, Split, Splits, image_spec
from harness.datasets.bundled import digits
from harness.datasets.hashing import draws, hash_order

Pixels = NDArray[np.float64]

HEIGHT, WIDTH = 48, 64
ROWS, COLUMNS = 2, 3
"""Rows and columns of the grid: each digit lies in a cell of its own, so digits never overlap."""
FEWEST, MOST = 3, 5
SMALLEST, LARGEST = 16, 19
"""Limits of a digit's side; a cell of 24x21 leaves one pixel around the largest."""
VOID = 255
BRIGHTNESS, SATURATION = 0.55, 0.3
"""Dark photographs and bright pale digits: finding a digit is easy, classifying it is not."""


@dataclass(frozen=True)
class _Part:
    """Parameters of a split.

    Attributes:
        name: of the split.
        scenes: number of scenes.
        first_id: id of the first scene.
        top: first row of the half-size photographs that its crops may show.
        bottom: end of those rows.
    """

    name: str
    scenes: int
    first_id: int
    top: int
    bottom: int


PARTS = (
    _Part("train", scenes=160, first_id=0, top=0, bottom=105),
    _Part("val", scenes=24, first_id=1000, top=105, bottom=157),
    _Part("test", scenes=48, first_id=2000, top=157, bottom=213),
)


def load() -> Splits:
    """Make the scenes; each split has digits and rows of the photographs of its own."""
    source = digits.load()
    photographs = _half_size_photographs()
    train, val, test = (
        _make_scenes(part, getattr(source, part.name), photographs) for part in PARTS
    )
    classes = ("background", *(str(digit) for digit in range(10)))
    spec = image_spec("segmentation", classes, (3, HEIGHT, WIDTH), VOID)
    return Splits(spec=spec, train=train, val=val, test=test)


def _half_size_photographs() -> tuple[Pixels, ...]:
    """Return both photographs at half size, ``[213, 320, 3]`` in [0, 1]."""
    from sklearn.datasets import load_sample_images

    return tuple(
        image[:426].reshape(213, 2, 320, 2, 3).mean(axis=(1, 3)) / 255
        for image in load_sample_images().images
    )


def _make_scenes(part: _Part, source: Split, photographs: tuple[Pixels, ...]) -> Split:
    order = iter(hash_order(source.ids, f"digit-scenes/{part.name}").tolist())
    x = np.empty((part.scenes, 3, HEIGHT, WIDTH), dtype=np.uint8)
    y = np.empty((part.scenes, HEIGHT, WIDTH), dtype=np.uint8)
    for row in range(part.scenes):
        chance = iter(draws(f"digit-scenes/{part.name}/{row}", 64).tolist())
        picture = _crop(photographs[row % 2], part, chance)
        labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for cell in _choose_cells(chance):
            item = next(order)
            glyph = source.x[item, 0].astype(np.float64) / 255
            _draw_digit(picture, labels, glyph, int(source.y[item]), cell, chance)
        x[row] = np.rint(picture.transpose(2, 0, 1) * 255).astype(np.uint8)
        y[row] = _with_void(labels)
    ids: Ids = part.first_id + np.arange(part.scenes, dtype=np.int64)
    return Split(x=x, y=y, ids=ids)


def _integer(chance: Iterator[float], lowest: int, highest: int) -> int:
    """Draw a whole number from ``lowest`` to ``highest``."""
    return lowest + int(next(chance) * (highest - lowest + 1))


def _crop(photograph: Pixels, part: _Part, chance: Iterator[float]) -> Pixels:
    """Cut a random crop out of the split's rows of a photograph, and darken it."""
    top = _integer(chance, part.top, part.bottom - HEIGHT)
    left = _integer(chance, 0, photograph.shape[1] - WIDTH)
    return photograph[top : top + HEIGHT, left : left + WIDTH] * BRIGHTNESS


def _choose_cells(chance: Iterator[float]) -> list[int]:
    """Choose the grid cells that hold a digit."""
    count = _integer(chance, FEWEST, MOST)
    ranks = [next(chance) for _ in range(ROWS * COLUMNS)]
    return sorted(range(ROWS * COLUMNS), key=ranks.__getitem__)[:count]


def _draw_digit(
    picture: Pixels,
    labels: NDArray[np.uint8],
    glyph: Pixels,
    digit: int,
    cell: int,
    chance: Iterator[float],
) -> None:
    """Paint one digit, enlarged, somewhere in its cell, and mark its pixels."""
    side = _integer(chance, SMALLEST, LARGEST)
    height, width = HEIGHT // ROWS, WIDTH // COLUMNS
    top = cell // COLUMNS * height + _integer(chance, 1, height - side - 1)
    left = cell % COLUMNS * width + _integer(chance, 1, width - side - 1)
    area = (slice(top, top + side), slice(left, left + side))
    cover = _enlarge(glyph, side)
    color = np.array(colorsys.hsv_to_rgb(next(chance), SATURATION, 1.0))
    picture[area] += cover[:, :, np.newaxis] * (color - picture[area])
    labels[area][cover >= 0.4] = digit + 1


def _enlarge(glyph: Pixels, side: int) -> Pixels:
    """Enlarge a square image bilinearly; outside its edge it is zero."""
    padded = np.pad(glyph, 1)
    at = (np.arange(side) + 0.5) * len(glyph) / side + 0.5
    low = at.astype(np.intp)
    part = at - low
    rows = padded[low] * (1 - part)[:, np.newaxis] + padded[low + 1] * part[:, np.newaxis]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _with_void(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the class map with void at every background pixel that touches a digit."""
    near = np.pad(labels > 0, 1)
    near = near[:-2] | near[1:-1] | near[2:]
    near = near[:, :-2] | near[:, 1:-1] | near[:, 2:]
    return np.where(near & (labels == 0), np.uint8(VOID), labels)


DATASETS = (
    Dataset(
        name="digit-scenes",
        task="segmentation",
        card=Card(
            title="Scenes of handwritten digits on photographs",
            license="digits CC BY 4.0, photographs CC BY 2.0",
            citation=(
                f"{digits.CITATION} Photographs: china.jpg by danielbuechele "
                "(https://www.flickr.com/photos/danielbuechele/6061409035), "
                "flower.jpg by vultilion (https://www.flickr.com/photos/vultilion/6056698931)."
            ),
            source="scikit-learn, sklearn.datasets.load_digits and load_sample_images",
            size="160 train, 24 validation, 48 test; 64x48 RGB, 10 digits and background",
            note=(
                "Made here: 3 to 5 digits a scene, enlarged and coloured, on dimmed crops at half "
                "size; a pixel of void around each digit. Splits share neither digits nor pixels. "
                "Scikit-learn's note links flower.jpg to vultilion but prints the other name."
            ),
        ),
        facts=Facts(PARTS[0].scenes, PARTS[1].scenes, PARTS[2].scenes, 11, (3, HEIGHT, WIDTH)),
        bundled=load,
    ),
)
