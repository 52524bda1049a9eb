"""Table of picture formats: suffixes, first bytes, and whether a picture comes back as it was."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """Row of the table.

    Attributes:
        suffixes: of file names, in lower case.
        signature: regular expression of the first bytes.
        lossy: whether pictures in it may have lost something, so that figures differ from those on
            the originals.
    """

    suffixes: tuple[str, ...]
    signature: bytes
    lossy: bool = False


FORMATS: dict[str, Format] = {
    "PNG": Format((".png",), rb"\x89PNG"),
    "JPEG": Format((".jpg", ".jpeg"), rb"\xff\xd8\xff", lossy=True),
    "PPM": Format((".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-6fFy]\s"),
    "BMP": Format((".bmp",), rb"BM"),
    "GIF": Format((".gif",), rb"GIF8", lossy=True),  # 256 colours
    "WEBP": Format((".webp",), rb"RIFF....WEBP", lossy=True),  # unless it says otherwise
    "TIFF": Format((".tif", ".tiff"), rb"II\*\0|MM\0\*"),
}
"""Format, by Pillow's name → row. Pictures of several frames are refused in all of them."""

_CONVERT, _REPLACE = "give it as {}", "replace it"
_SIGNATURES = (
    *((row.signature, name, _CONVERT) for name, row in FORMATS.items()),
    (rb"\0\x05\x16\x07", "resource file of macOS", "remove it"),
    (rb"version https://git-lfs", "Git LFS pointer without its file", "run `git lfs pull`"),
    (rb"\s*<(?i:!doctype|html|\?xml|svg)", "web page or SVG", _REPLACE),
    (rb"[\t\n\r -~]+\Z", "text file", _REPLACE),
)
"""First bytes of a file → what it is, and what to do about it."""


def is_picture(name: str) -> bool:
    """Return whether a file has the suffix of a picture, in any case.

    >>> is_picture("a/0.PNG"), is_picture("a/0.txt")
    (True, False)
    """
    return name.lower().endswith(tuple(end for row in FORMATS.values() for end in row.suffixes))


def identify(blob: bytes) -> tuple[str, str]:
    """Return what a file is by its first bytes, and what to do about it.

    In the latter ``{}`` stands for the formats that are accepted. Unknown: an empty text.
    """
    rows = (row for row in _SIGNATURES if re.match(row[0], blob, re.DOTALL))
    _, found, fix = next(rows, (b"", "", _REPLACE))
    return found, fix
