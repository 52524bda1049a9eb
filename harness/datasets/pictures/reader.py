"""Reader of untrusted image files: a picture or a class map from the bytes of a file.

A picture is upright (EXIF orientation is applied, once), has one frame, 8 bits and no alpha.
``picture_modes`` says how each mode gets there, or why it is refused.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.common.errors import UserError
from harness.datasets.pictures.formats import FORMATS
from harness.datasets.pictures.modes import MODES, Pixels, check_depth, read_numbers
from harness.datasets.pictures.opening import MEGAPIXELS, TOO_LARGE, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
"""Tag of EXIF: 1 is upright, 2 to 8 are turned or mirrored; cameras also write 0, unknown."""
_TURNED = range(2, 9)

Box = tuple[int, int, int, int]
"""Part of an upright picture in pixels: left, top, right, bottom; the latter two are outside."""


@dataclass(frozen=True)
class PictureForm:
    """Form in which a data set stores its pictures.

    Of an upright picture the box is cut out first, then it is resized, then cropped.

    Attributes:
        channels: 3 for RGB, 1 for grey.
        formats: accepted formats, of ``FORMATS``.
        size: width and height that an upright picture must have; ``None`` for any.
        resized: width and height of the result, bilinear without cropping; ``None``: as it is.
        short_side: length of the shorter side after resizing, bilinear with antialias; the other
            keeps the proportion, rounded down, as torchvision's ``Resize`` does.
        crop: width and height of a square in the middle of the resized picture, placed as
            torchvision's ``CenterCrop`` does; a smaller picture is refused.
        mapped: whether a class map belongs to the picture; then one that EXIF turns is refused,
            as nothing says whether its map is turned too.
        largest: limit of a file in bytes, for ``find_files``; a picture without compression has
            three bytes a pixel.
    """

    channels: int
    formats: tuple[str, ...] = tuple(FORMATS)
    size: tuple[int, int] | None = None
    resized: tuple[int, int] | None = None
    short_side: int | None = None
    crop: int | None = None
    mapped: bool = False
    largest: int = 3 * MEGAPIXELS * 10**6

    def __post_init__(self) -> None:
        if self.resized is not None and self.short_side is not None:
            raise ValueError("a picture is resized to both sides or to the shorter one")

    @property
    def output_size(self) -> tuple[int, int] | None:
        """Width and height that every picture without a box has; ``None``: they may differ."""
        if self.crop is not None:
            return self.crop, self.crop
        if self.resized is not None:
            return self.resized
        return _resized_size(self.size, self) if self.size is not None else None


@dataclass(frozen=True)
class Picture:
    """A picture that was read.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        format: of the file, by Pillow's name.
        remarks: what is to be said about pictures like it, to be counted.
        digest: SHA-256 of the file, in hexadecimal.
        lossy: whether the file may have lost something of the picture.
    """

    pixels: Pixels
    format: str
    remarks: tuple[str, ...]
    digest: str
    lossy: bool


def read_picture(blob: bytes, where: str, form: PictureForm, box: Box | None = None) -> Picture:
    """Read a picture. Safe in threads.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        form: form of the result.
        box: the part of it that is wanted; ``None``: all of it.

    Raises:
        UserError: none of the formats, damaged, of another size, too large, of several frames,
            or of a mode that is refused; a box that is not inside, or too small for the crop.
    """
    remarks: list[str] = []
    with open_image(blob, where, form.formats, remarks) as image:
        check_depth(image, where)
        flat = _flatten(_turn_upright(image, where, form), image, where, remarks)
        wanted = "RGB" if form.channels == 3 else "L"
        if flat.mode == "L" and wanted == "RGB":
            remarks.append("grey pictures, repeated in three channels")
        elif flat.mode == "RGB" and wanted == "L" and not _is_grey(flat):
            remarks.append("coloured pictures, reduced to their luma")
        flat = flat if flat.mode == wanted else flat.convert(wanted)
        pixels = np.array(_fit(flat, where, form, box))
        format_ = str(image.format)
        lossless_webp = format_ == "WEBP" and blob[12:16] == b"VP8L"
    pixels = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    return Picture(
        pixels=pixels.transpose(2, 0, 1),
        format=format_,
        remarks=tuple(remarks),
        digest=hashlib.sha256(blob).hexdigest(),
        lossy=FORMATS[format_].lossy and not lossless_webp,
    )


def _turn_upright(image: Image, where: str, form: PictureForm) -> Image:
    """Apply the EXIF orientation, once, and check the size."""
    from PIL import ImageOps

    upright = image
    if image.getexif().get(_ORIENTATION) in _TURNED:
        if form.mapped:
            raise _turned_error(where)
        upright = ImageOps.exif_transpose(image)
    _check_size(upright, where, form.size)
    return upright


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


def _fit(image: Image, where: str, form: PictureForm, box: Box | None) -> Image:
    """Cut out the box, resize, and crop."""
    from PIL import Image as pillow

    if box is not None:
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            what = f"is {image.width}x{image.height} pixels, and the box is {left}, {top} to "
            what += f"{right}, {bottom}"
            raise UserError(where, what, "give a box inside the picture")
        image = image.crop(box)
    size = _resized_size(image.size, form)
    if size[0] * size[1] > MEGAPIXELS * 10**6:
        what = f"is {image.width:,}x{image.height:,} pixels, resized to {size[0]:,}x{size[1]:,}"
        raise UserError(where, what, TOO_LARGE)
    if size != image.size:
        image = image.resize(size, pillow.Resampling.BILINEAR)
    if form.crop is None:
        return image
    if min(image.size) < form.crop:
        what = f"is {image.width}x{image.height} pixels after resizing"
        fix = f"give larger images, or crop to less than {form.crop}"
        raise UserError(where, what, fix)
    left, top = (round((side - form.crop) / 2) for side in image.size)
    return image.crop((left, top, left + form.crop, top + form.crop))


def _resized_size(size: tuple[int, int], form: PictureForm) -> tuple[int, int]:
    """Return width and height after resizing."""
    if form.short_side is None:
        return form.resized or size
    short = min(size)
    width, height = (
        form.short_side if side == short else int(form.short_side * side / short) for side in size
    )
    return width, height


def picture_size(blob: bytes) -> tuple[int, int]:
    """Return width and height of a picture that was read before, as its file says them."""
    from PIL import Image

    with Image.open(io.BytesIO(blob)) as image:
        return image.size


def read_class_map(
    blob: bytes, where: str, size: tuple[int, int] | None
) -> tuple[Pixels, tuple[str, ...]]:
    """Read the class numbers of a PNG.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        size: width and height that it must have; ``None`` for any.

    Returns:
        uint8 ``[H, W]``, and remarks as in ``Picture``.

    Raises:
        UserError: as ``read_picture``; also a mode that stores colors instead of numbers.
    """
    remarks: list[str] = []
    with open_image(blob, where, ("PNG",), remarks) as image:
        row = MODES[image.mode]
        if not row.numbers:
            what = f"is {row.name}, not 8-bit grey or a palette"
            raise UserError(where, what, "give class numbers, not colours")
        _check_size(image, where, size)
        tiles = getattr(image, "tile", [])  # until the pixels are loaded
        raw_mode = tiles[0].args if tiles else None
        numbers = read_numbers(image, raw_mode)
        if image.getexif().get(_ORIENTATION) in _TURNED:
            raise _turned_error(where)
        if image.mode == "P":
            remarks.append("class maps with a palette, whose indices are the classes")
    return numbers, tuple(remarks)


def _turned_error(where: str) -> UserError:
    what = "is turned by its EXIF orientation, but it is one of a picture and its class map"
    return UserError(where, what, "store both upright, without EXIF")


def _check_size(image: Image, where: str, size: tuple[int, int] | None) -> None:
    if size is not None and image.size != size:
        what = f"is {image.width}x{image.height} pixels"
        raise UserError(where, what, f"give images of {size[0]}x{size[1]}")


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
