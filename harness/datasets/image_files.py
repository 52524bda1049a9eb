"""Reader of untrusted image files: a picture or a class map from the bytes of a file.

A picture is upright (EXIF orientation is applied, once), has one frame, 8 bits and no alpha.
``picture_modes`` says how each mode gets there, or why it is refused.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.common.errors import UserError
from harness.common.text import one_line
from harness.datasets.picture_modes import MODES, Pixels, read_numbers

if TYPE_CHECKING:
    from PIL.Image import Image

MEGAPIXELS = 80
"""Limit of a picture's size: a smaller file can hold more, and unpack to all of the memory."""
_ORIENTATION = 0x0112
"""Tag of EXIF: 1 is upright, 2 to 8 are turned or mirrored; cameras also write 0, unknown."""
_TURNED = range(2, 9)
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
           MemoryError, struct.error, zlib.error)  # fmt: skip
"""What Pillow raises for damaged files: SyntaxError for a PNG, the others in metadata."""

_CONVERT, _REPLACE = "give it as {}", "replace it"
_SIGNATURES = (
    (rb"\x89PNG", "PNG", _CONVERT),
    (rb"\xff\xd8\xff", "JPEG", _CONVERT),
    (rb"P[1-6fFy]\s", "PPM", _CONVERT),
    (rb"GIF8", "GIF", _CONVERT),
    (rb"RIFF....WEBP", "WEBP", _CONVERT),
    (rb"BM", "BMP", _CONVERT),
    (rb"II\*\0|MM\0\*", "TIFF", _CONVERT),
    (rb"\0\x05\x16\x07", "resource file of macOS", "remove it"),
    (rb"version https://git-lfs", "Git LFS pointer without its file", "run `git lfs pull`"),
    (rb"\s*<(?i:!doctype|html|\?xml|svg)", "web page or SVG", _REPLACE),
    (rb"[\t\n\r -~]+\Z", "text file", _REPLACE),
)
"""First bytes of a file → what it is, and what to do about it."""


@dataclass(frozen=True)
class PictureForm:
    """Form in which a data set stores its pictures.

    Attributes:
        channels: 3 for RGB, 1 for grey.
        formats: accepted formats, by Pillow's names.
        size: width and height that an upright picture must have; ``None`` for any.
        resized: width and height of the result, bilinear without cropping; ``None``: as it is.
        mapped: whether a class map belongs to the picture; then one that EXIF turns is refused,
            as nothing says whether its map is turned too.
    """

    channels: int
    formats: tuple[str, ...]
    size: tuple[int, int] | None = None
    resized: tuple[int, int] | None = None
    mapped: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture that was read.

    Attributes:
        pixels: uint8 ``[C, H, W]``.
        format: of the file, by Pillow's name.
        remarks: what is to be said about pictures like it, to be counted.
    """

    pixels: Pixels
    format: str
    remarks: tuple[str, ...] = ()


def read_picture(blob: bytes, where: str, form: PictureForm) -> Picture:
    """Read a picture.

    Args:
        blob: content of the file.
        where: name of the file for messages.
        form: form of the result.

    Raises:
        UserError: none of the formats, damaged, of another size, too large, of several frames,
            or of a mode that is refused.
    """
    from PIL import Image, ImageOps

    remarks: list[str] = []
    with _open_image(blob, where, form.formats, remarks) as image:
        row = MODES[image.mode]
        if row.convert is None:
            raise UserError(where, f"is {row.name}: {row.reason}", "store it as 8-bit RGB or grey")
        format_ = str(image.format)
        upright: Image.Image = image
        if image.getexif().get(_ORIENTATION) in _TURNED:
            if form.mapped:
                raise _turned_error(where)
            upright = ImageOps.exif_transpose(image)
        _check_size(upright, where, form.size)
        remarks += [row.remark] if row.remark else []
        if image.has_transparency_data:
            if row.deep:
                what = f"is {row.name} with a transparent value"
                raise UserError(where, what, "store it without transparency")
            upright, transparent = _lay_on_white(upright)
            remarks += ["partly transparent pictures, laid on white"] if transparent else []
        flat = MODES[upright.mode].convert
        assert flat is not None  # laid on white, it is RGB
        plain, wanted = flat(upright), "RGB" if form.channels == 3 else "L"
        if plain.mode == "L" and wanted == "RGB":
            remarks.append("grey pictures, repeated in three channels")
        elif plain.mode == "RGB" and wanted == "L" and not _is_grey(plain):
            remarks.append("coloured pictures, reduced to their luma")
        plain = plain if plain.mode == wanted else plain.convert(wanted)
        if form.resized is not None:
            plain = plain.resize(form.resized, Image.Resampling.BILINEAR)
        pixels = np.array(plain)
    pixels = pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels
    return Picture(pixels.transpose(2, 0, 1), format_, tuple(remarks))


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
    with _open_image(blob, where, ("PNG",), remarks) as image:
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


@contextmanager
def _open_image(
    blob: bytes, where: str, formats: tuple[str, ...], remarks: list[str]
) -> Iterator[Image]:
    """Open an image of one frame for decoding within the block; damage is a ``UserError``.

    Pillow's warnings, of metadata that it skips, become a remark after the block.
    """
    from PIL import Image

    too_large = f"give pictures of at most {MEGAPIXELS} megapixels"
    try:
        with (
            warnings.catch_warnings(record=True, action="always") as heard,
            Image.open(io.BytesIO(blob), formats=formats) as image,
        ):
            if image.width * image.height > MEGAPIXELS * 10**6:
                what = f"is {image.width:,}x{image.height:,} pixels"
                raise UserError(where, what, too_large)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise UserError(where, f"holds {frames} frames", "give one picture a file")
            yield image
        remarks += ["pictures with damaged metadata, ignored"] if heard else []
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        what = f"unpacks to {int(pixels[0]):,} pixels" if pixels else "unpacks to too much"
        raise UserError(where, what, too_large) from error
    except _DAMAGE as error:
        raise _damage_error(blob, where, formats, error) from error


def _damage_error(
    blob: bytes, where: str, formats: tuple[str, ...], error: BaseException
) -> UserError:
    """Return the error for a file that Pillow cannot read; it says what the file is instead."""
    if not blob:
        return UserError(where, "is empty", "replace it")
    rows = (row for row in _SIGNATURES if re.match(row[0], blob, re.DOTALL))
    _, found, fix = next(rows, (b"", "", _REPLACE))
    accepted = " or ".join(formats)
    if found and found not in formats:
        return UserError(where, f"is a {found}, not {accepted}", fix.format(accepted))
    # Pillow names the object that it read from, an address in memory
    reason = re.sub(r" ?<\S+ object at 0x[0-9a-f]+>", "", one_line(str(error)))
    what = f"is not a whole {found or accepted} ({reason or type(error).__name__})"
    return UserError(where, what, "replace it")


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
