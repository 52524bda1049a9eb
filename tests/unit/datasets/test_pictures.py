"""A picture is what it says: every mode of Pillow, 16 bits, EXIF, alpha, frames, and odd files."""

from __future__ import annotations

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageMode

from harness.common.errors import UserError
from harness.config.dataset import Picture
from harness.datasets.pictures.class_maps import read_class_map
from harness.datasets.pictures.modes import MODES
from harness.datasets.pictures.reader import read_picture
from tests.support.errors import raises_error

RGB, GREY = Picture(channels=3), Picture(channels=1)
WHITE = (255, 255, 255)


def stored(image: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def ramp(kind: type = np.uint8, side: int = 16) -> np.ndarray:
    """Every value of eight bits once; in 16 bits, 257 times as large."""
    values = np.arange(side * side).reshape(side, side)
    return (values * (257 if kind is np.uint16 else 1)).astype(kind)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(bits: int, kind: int, body: bytes, width: int, height: int) -> bytes:
    """A PNG of any depth, which Pillow does not write; kind 3 has a palette."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")]
    if kind == 3:
        parts.insert(1, chunk(b"PLTE", bytes(3 << bits)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_every_mode_of_pillow_has_a_row():
    assert set(Image.MODES) == set(MODES)
    for mode, row in MODES.items():
        assert ImageMode.getmode(mode)
        assert (row.convert is None) == bool(row.reason)


@pytest.mark.parametrize("factor", [256, 257])
@pytest.mark.parametrize("form", ["PNG", "PPM"])
def test_16_bits_are_scaled_not_clipped(form, factor):
    deep = Image.fromarray(ramp().astype(np.uint16) * factor)
    blob = stored(deep, form)
    assert Image.open(io.BytesIO(blob)).mode in ("I;16", "I")
    assert np.array_equal(read_picture(blob, "a", GREY).pixels[0], ramp())
    assert np.array_equal(read_picture(blob, "a", RGB).pixels, np.stack([ramp()] * 3))


def test_16_bit_rgb_keeps_its_high_bytes():
    values = (np.arange(4 * 4 * 3).reshape(4, 12) * 1000).astype(">u2")
    body = b"".join(b"\0" + row.tobytes() for row in values)
    pixels = read_picture(png_of(16, 2, body, 4, 4), "a", RGB).pixels
    assert np.array_equal(pixels.transpose(1, 2, 0).reshape(4, 12), values >> 8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_modes_are_converted_as_pillow_converts_them(mode):
    image = Image.fromarray(np.stack([ramp(), ramp()[::-1], ramp().T], axis=2)).convert(mode)
    blob = stored(image, "JPEG" if mode == "CMYK" else "PNG")
    expected = np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")).transpose(2, 0, 1)
    picture = read_picture(blob, "a", RGB)
    assert np.array_equal(picture.pixels, expected)
    said = {"CMYK": "CMYK pic", "1": "grey pictures, rep", "L": "grey pictures, rep"}.get(mode, "")
    assert "".join(picture.remarks).startswith(said)
    assert bool(picture.remarks) == bool(said)


def test_colour_in_a_grey_set_is_said_and_grey_in_rgb_is_not():
    grey = Image.fromarray(ramp())
    assert read_picture(stored(grey.convert("RGB")), "a", GREY).remarks == ()
    assert np.array_equal(read_picture(stored(grey.convert("RGB")), "a", GREY).pixels[0], ramp())
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    picture = read_picture(stored(red), "a", GREY)
    assert picture.remarks == ("coloured pictures, reduced to their luma",)
    assert picture.pixels[0, 0, 0] == 76


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_exif_orientation_is_applied_once(orientation, form):
    corner = np.zeros((16, 32, 3), dtype=np.uint8)
    corner[:8, :8] = 255
    blob = stored(Image.fromarray(corner), form, exif=exif(orientation), quality=95)
    # EXIF 2.3, 4.6.4: where row 0 and column 0 of the file are in the picture
    bright = ["", "top left", "top right", "bottom right", "bottom left",
              "top left", "top right", "bottom right", "bottom left"][orientation]  # fmt: skip
    pixels = read_picture(blob, "a", RGB).pixels
    assert pixels.shape[1:] == ((16, 32) if orientation < 5 else (32, 16))
    rows = slice(0, 4) if "top" in bright else slice(-4, None)
    columns = slice(0, 4) if "left" in bright else slice(-4, None)
    assert pixels[:, rows, columns].min() > 240
    assert (pixels > 128).mean() == pytest.approx(1 / 8, abs=0.01)


def test_the_size_is_that_of_the_upright_picture():
    blob = stored(Image.new("RGB", (4, 6)), exif=exif(6))
    assert read_picture(blob, "a", Picture(channels=3, size=(6, 4))).pixels.shape == (3, 4, 6)
    with raises_error("picture-size", where="a"):
        read_picture(blob, "a", Picture(channels=3, size=(4, 6)))
    with raises_error("picture-turned", where="a"):
        read_picture(blob, "a", RGB, mapped=True)
    grey = stored(Image.new("L", (4, 6)), exif=exif(6))
    with raises_error("class-map-turned", where="a"):
        read_class_map(grey, "a", None)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_exif_does_not_know_is_upright(orientation):
    blob = stored(Image.new("RGB", (4, 6)), exif=exif(orientation))
    assert read_picture(blob, "a", RGB, mapped=True).pixels.shape == (3, 6, 4)
    grey = stored(Image.new("L", (4, 6)), exif=exif(orientation))
    assert read_class_map(grey, "a", None)[0].shape == (6, 4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB"])
def test_transparent_pixels_lie_on_white(mode):
    image = Image.new("RGBA", (4, 1), (0, 0, 0, 255))
    if mode in ("RGBA", "LA"):
        image.putpixel((1, 0), (0, 0, 0, 0))
        blob = stored(image.convert(mode))
    else:
        image = Image.fromarray(np.array([[0, 1, 0, 0]], dtype=np.uint8), "L").convert(mode)
        blob = stored(image, transparency=(1, 1, 1) if mode == "RGB" else 1)
    picture = read_picture(blob, "a", RGB)
    assert picture.pixels[:, 0, 1].tolist() == [255] * 3
    assert picture.pixels[:, 0, 2].tolist() == [0] * 3
    assert picture.remarks == ("partly transparent pictures, laid on white",)


def test_opaque_alpha_is_dropped_without_a_word():
    image = Image.fromarray(np.stack([ramp()] * 3, axis=2)).convert("RGBA")
    picture = read_picture(stored(image), "a", RGB)
    assert np.array_equal(picture.pixels[0], ramp())
    assert picture.remarks == ()


def refused_pictures() -> dict[str, bytes]:
    """Code → file."""
    flat = Image.new("RGB", (8, 8))
    other = Image.new("RGB", (8, 8), WHITE)
    deep = Image.fromarray(ramp(np.uint16))
    whole = stored(Image.fromarray(ramp()))
    return {
        "picture-empty": b"",
        "picture-text": b"no picture\n",
        "picture-web-page": b"<!DOCTYPE html><title>404</title>",
        "picture-lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "picture-resource-file": b"\0\5\x16\7" + bytes(100),
        "picture-noise": b"\x80\x81\x82",
        "picture-cut": whole[: len(whole) // 2],
        "picture-cut-head": whole[:20],
        "picture-animated": stored(flat, save_all=True, append_images=[other]),
        "picture-two-pages": stored(flat, "MPO", save_all=True, append_images=[other]),
        "picture-bomb": b"P6\n100000 100000\n255\n" + bytes(100),
        "picture-large": b"P6\n9000 9000\n255\n" + bytes(100),
        "picture-float": b"Pf\n2 2\n-1.0\n" + bytes(16),
        "picture-deep-transparent": stored(deep, transparency=1),
    }


@pytest.mark.parametrize("code", refused_pictures())
def test_odd_picture_is_one_line(code):
    with raises_error(code, where="a.png") as caught:
        read_picture(refused_pictures()[code], "a.png", RGB)
    assert not re.search(r"0x[0-9a-f]{6}", str(caught.value))


def test_a_mutated_picture_is_read_or_refused_in_one_line():
    """Any other exception, which Pillow's parsers may let through, fails this test."""
    whole = [stored(Image.fromarray(np.stack([ramp()] * 3, axis=2)), form, exif=exif(6))
             for form in ("PNG", "JPEG")]  # fmt: skip
    chance = np.random.default_rng(0)
    read, refusals = 0, []
    for case in range(3000):
        blob = bytearray(whole[case % 2])
        for at in chance.integers(0, len(blob), 4):
            blob[at] = chance.integers(0, 256)
        try:
            read_picture(bytes(blob), "a", RGB)
            read += 1
        except UserError as error:
            refusals.append(str(error))
    assert min(read, len(refusals)) > 100
    assert not re.search(r"0x[0-9a-f]{6}|\n", "".join(refusals))


def test_damaged_metadata_are_said():
    blob = bytearray(stored(Image.new("RGB", (8, 8)), "JPEG", exif=exif(6)))
    blob[blob.index(b"\x01\x12") + 4 : blob.index(b"\x01\x12") + 8] = b"\0\0\xff\xff"
    assert "pictures with damaged metadata, ignored" in read_picture(bytes(blob), "a", RGB).remarks


# Class maps


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", [0, 3])
def test_class_numbers_of_few_bits_are_as_stored(bits, kind):
    numbers = np.arange(8).reshape(1, 8) % (1 << bits)
    digits = "".join(f"{number:0{bits}b}" for number in numbers[0])
    row = int(digits, 2).to_bytes(len(digits) // 8, "big")
    blob = png_of(bits, kind, b"\0" + row, 8, 1)
    found, remarks = read_class_map(blob, "a", None)
    assert found.tolist() == numbers.tolist()
    assert bool(remarks) == (kind == 3)


@pytest.mark.parametrize(
    ("mode", "code"),
    [("RGB", "map-rgb"), ("RGBA", "map-rgba"), ("LA", "map-alpha"), ("I;16", "map-16-bit")],
)
def test_colours_are_no_class_numbers(mode, code):
    with raises_error(code, where="a"):
        read_class_map(stored(Image.new(mode, (4, 4))), "a", None)
