"""Table of Pillow's modes: how a picture or a class map of each is read, or why it is refused.

Depth: values of 16 bits keep their high byte, as Pillow does for 16-bit RGB and libpng's
``png_set_strip_16`` does. This returns 8-bit values exactly, whether they were stored times 256
or times 257. Color profiles and gamma are not applied: no data set's published figures use them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]
Conversion = Callable[["Image"], "Image"]
"""Conversion to mode ``L`` or ``RGB``; alpha is handled before."""


@dataclass(frozen=True)
class Mode:
    """Row of the table.

    Attributes:
        name: the mode in words, for messages.
        convert: conversion of a picture to ``L`` or ``RGB``; ``None``: refused.
        reason: why pictures of this mode are refused, or empty.
        remark: what is said of converted pictures beside the data set, or empty.
        numbers: whether the values in a class map are its class numbers.
        deep: whether it has 16 bits or more, where Pillow's own conversion clips.
    """

    name: str
    convert: Conversion | None
    reason: str = ""
    remark: str = ""
    numbers: bool = False
    deep: bool = False


def _keep(image: Image) -> Image:
    return image


def _to_grey(image: Image) -> Image:
    return image.convert("L")


def _to_rgb(image: Image) -> Image:
    return image.convert("RGB")


def _keep_high_byte(image: Image) -> Image:
    from PIL import Image as pillow

    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        low, high = values.min(), values.max()
        raise ValueError(f"values of {low} to {high} do not fit into 16 bits")
    return pillow.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _refuse(name: str, reason: str, *, deep: bool = False) -> Mode:
    return Mode(name, None, reason, deep=deep)


_UNSTORED = "no accepted format stores it"
_DEEP_TIFF = ((16,), 1, (1,))
"""Bits, photometric interpretation (black is 0) and sample format (unsigned) of a TIFF whose values
of more than 8 bits have the range of 16 bits. Pillow reads others without scaling them."""
_TIFF_TAGS = ((258, (1,)), (262, None), (339, (1,)))
"""Tags of these three, with TIFF's defaults."""

MODES: dict[str, Mode] = {
    "1": Mode("black and white", _to_grey, numbers=True),
    "L": Mode("8-bit grey", _keep, numbers=True),
    "LA": Mode("8-bit grey with alpha", _to_grey),
    "P": Mode("palette colours", _to_rgb, numbers=True),
    "PA": Mode("palette colours with alpha", _to_rgb),
    "RGB": Mode("8-bit RGB", _keep),
    "RGBA": Mode("8-bit RGB with alpha", _to_rgb),
    "RGBX": Mode("8-bit RGB with padding", _to_rgb),
    "CMYK": Mode(
        "CMYK ink", _to_rgb, remark="CMYK pictures, converted without their colour profile"
    ),
    "YCbCr": Mode("YCbCr video", _to_rgb),
    "I": Mode("16-bit grey in 32 bits", _keep_high_byte, deep=True),
    "I;16": Mode("16-bit grey", _keep_high_byte, deep=True),
    "I;16L": Mode("16-bit grey, low byte first", _keep_high_byte, deep=True),
    "I;16B": Mode("16-bit grey, high byte first", _keep_high_byte, deep=True),
    "I;16N": Mode("16-bit grey in the machine's order", _keep_high_byte, deep=True),
    "F": _refuse("floating point", "its values have no fixed range", deep=True),
    "LAB": _refuse("CIELAB", "its white point is not stored"),
    "HSV": _refuse("HSV", _UNSTORED),
    "La": _refuse("grey with premultiplied alpha", _UNSTORED),
    "RGBa": _refuse("RGB with premultiplied alpha", _UNSTORED),
}
"""Mode of Pillow → row."""

SCALED_DEPTHS = {"L;2": 85, "L;4": 17}
"""Raw mode of a PNG of few bits → factor by which Pillow stretches its values to 0-255."""


def check_depth(image: Image, where: str) -> None:
    """Check that a picture has a mode that is converted, and its full range.

    Raises:
        UserError: it has not.
    """
    row = MODES[image.mode]
    if row.convert is None:
        raise UserError(where, f"is {row.name}: {row.reason}", "store it as 8-bit RGB or grey")
    if row.deep and image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        if tuple(tags.get(tag, default) for tag, default in _TIFF_TAGS) != _DEEP_TIFF:
            what = (
                "is a TIFF of other than 16 unsigned bits with black as 0, so its range is unknown"
            )
            raise UserError(where, what, "store it as 8-bit RGB or grey")


def read_numbers(image: Image, raw_mode: object) -> Pixels:
    """Return the numbers ``[H, W]`` that a class map stores; those of a palette are its indices.

    Args:
        image: picture of a mode with ``numbers``.
        raw_mode: raw mode of its file; few bits are stretched by Pillow, which is undone here.
    """
    values = np.asarray(image).astype(np.uint8)
    factor = SCALED_DEPTHS.get(raw_mode, 1) if isinstance(raw_mode, str) else 1
    return values // np.uint8(factor)
