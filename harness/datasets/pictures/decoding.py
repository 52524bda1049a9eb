"""Pictures of a data set, decoded by threads and yielded one by one in the order of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from harness.common.errors import UserError
from harness.datasets.files.source_files import SourceFile
from harness.datasets.mistakes import Mistakes
from harness.datasets.pictures.parallel import map_ordered
from harness.datasets.pictures.reader import Box, Picture, PictureForm, read_picture
from harness.datasets.remarks import Remarks

HEAVY = 10_000
"""Bytes of a file from which a thread helps. On two CPUs, PNGs of 8 kB (64 x 64) took 2.6 s for
10,000 with threads and 2.3 s without, of 17 kB (96 x 96) 0.35 s and 0.43 s for 1,000; JPEGs of 5 kB
0.45 s and 0.29 s, of 11 kB (224 x 224) 0.41 s and 0.48 s: small ones wait for the interpreter."""

Decoded = TypeVar("Decoded")


def read_pictures(
    files: Iterable[SourceFile],
    form: PictureForm | Callable[[SourceFile], PictureForm],
    mistakes: Mistakes,
    remarks: Remarks,
    box: Callable[[SourceFile], Box | None] = lambda file: None,
) -> Iterator[tuple[SourceFile, Picture]]:
    """Yield each file that can be read, with its picture, in order.

    Memory does not grow with the number of files.

    Args:
        files: as ``find_files`` yields them.
        form: form of the pictures, or a function that returns that of a file.
        mistakes: gets a ``UserError`` for each file that cannot be read.
        remarks: gets the remarks of the pictures.
        box: returns the part of a file's picture that is wanted, or ``None`` for all of it. It is
            called from threads, like ``form``.
    """

    def decode(file: SourceFile) -> Picture:
        its_form = form(file) if callable(form) else form
        return read_picture(file.read(), file.where, its_form, box(file))

    for file, picture in decode_files(files, decode, mistakes):
        remarks.add(picture.remarks)
        yield file, picture


def decode_files(
    files: Iterable[SourceFile], decode: Callable[[SourceFile], Decoded], mistakes: Mistakes
) -> Iterator[tuple[SourceFile, Decoded]]:
    """Yield each file with what ``decode`` makes of it, in order; large files in threads.

    Args:
        files: as ``find_files`` yields them.
        decode: called from threads; for class maps, for example, it calls ``read_class_map``.
        mistakes: gets each ``UserError`` that ``decode`` raises.
    """

    def attempt(file: SourceFile) -> tuple[SourceFile, Decoded | UserError]:
        try:
            return file, decode(file)
        except UserError as error:
            return file, error

    for file, result in map_ordered(attempt, files, heavy=lambda file: file.size >= HEAVY):
        if isinstance(result, UserError):
            mistakes.add(result)
        else:
            yield file, result
