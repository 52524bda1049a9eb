"""Reader of untrusted image files: a picture from the bytes of a file.

A picture is upright (EXIF orientation is applied, once), has one frame, 8 bits and no alpha.
``modes`` says how each mode gets there, or why it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.datasets.pictures.formats import FORMATS
from harness.datasets.pictures.modes import MODES, Pixels, check_depth
from harness.datasets.pictures.opening import (
    MEGAPIXELS,
    TOO_LARGE,
    check_size,
    is_turned,
    open_image,
    turned_error,
)
from harness.datasets.pictures.resizing import Box, resizing

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ReadPicture:
    """A picture that was read.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        size: width and height in the file, upright.
        remarks: what is to be said about pictures like it, to be counted.
        lossy: whether the file may have lost something of the picture.
    """

    pixels: Pixels
    size: tuple[int, int]
    remarks: tuple[str, ...]
    lossy: bool


def read_picture(
    blob: bytes, where: str, form: Picture, box: Box | None = None, *, mapped: bool = False
) -> ReadPicture:
    """Read a picture. Safe in threads.

    Of an upright picture the box is cut out first, then it is resized, bilinear with antialias.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        form: form of the result; its ``crop`` is for networks.
        box: the part of it that is wanted; ``None``: all of it.
        mapped: whether a class map belongs to the picture; then one that EXIF turns is refused, as
            nothing says whether its map is turned too.

    Raises:
        UserError: none of the formats, damaged, of another size, too large, of several frames,
            or of a mode that is refused; or a box is not inside.
    """
    from PIL import ImageOps

    remarks: list[str] = []
    with open_image(blob, where, tuple(FORMATS), remarks) as image:
        check_depth(image, where)
        if mapped and is_turned(image):
            raise turned_error(where)
        upright = ImageOps.exif_transpose(image) if is_turned(image) else image
        size = upright.size
        check_size(upright, where, form.size)
        flat = _flatten(upright, image, where, remarks)
        wanted = "RGB" if form.channels == 3 else "L"
        if flat.mode == "L" and wanted == "RGB":
            remarks.append("grey pictures, repeated in three channels")
        elif flat.mode == "RGB" and wanted == "L" and not _is_grey(flat):
            remarks.append("coloured pictures, reduced to their luma")
        flat = flat if flat.mode == wanted else flat.convert(wanted)
        pixels = np.array(_fit(flat, where, form, box))
        lossless_webp = image.format == "WEBP" and blob[12:16] == b"VP8L"
        lossy = FORMATS[str(image.format)].lossy and not lossless_webp
    pixels = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    return ReadPicture(pixels.transpose(2, 0, 1), size, tuple(remarks), lossy)


def _flatten(upright: Image, image: Image, where: str, remarks: list[str]) -> Image:
    """Return a picture of mode ``L`` or ``RGB``, by the rows of the table of modes."""
    row = MODES[image.mode]
    remarks += [row.remark] if row.remark else []
    if image.has_transparency_data:
        if row.deep:
            what = f"is {row.name} with a transparent value"
            raise UserError(where, what, "store it without transparency")
        upright, transparent = _lay_on_white(upright)
        remarks += ["partly transparent pictures, laid on white"] if transparent else []
    convert = MODES[upright.mode].convert
    assert convert is not None  # its mode was checked; laid on white, it is RGB
    return convert(upright)


def _fit(image: Image, where: str, form: Picture, box: Box | None) -> Image:
    """Cut out the box, resize, and keep the middle."""
    from PIL import Image as pillow

    if box is not None:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            what = f"is {image.width}x{image.height} pixels, and the box is {left}, {top} to "
            what += f"{right}, {bottom}"
            raise UserError(where, what, "give a box inside the picture")
        image = image.crop(box)
    size, kept = resizing(image.size, form.resize)
    if size[0] * size[1] > MEGAPIXELS * 10**6:
        what = f"is {image.width:,}x{image.height:,} pixels, resized to {size[0]:,}x{size[1]:,}"
        raise UserError(where, what, TOO_LARGE)
    if size != image.size:
        image = image.resize(size, pillow.Resampling.BILINEAR)
    return image.crop(kept)


def _lay_on_white(image: Image) -> tuple[Image, bool]:
    """Lay a picture with alpha on white; return it as RGB, and whether white shows anywhere."""
    from PIL import Image as pillow

    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema() == (255, 255):
        return rgba.convert("RGB"), False
    white = pillow.new("RGBA", rgba.size, (255, 255, 255, 255))
    white.alpha_composite(rgba)
    return white.convert("RGB"), True


def _is_grey(image: Image) -> bool:
    """Return whether the three channels are equal."""
    values = np.asarray(image)
    return bool((values == values[:, :, :1]).all())
