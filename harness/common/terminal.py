"""Terminal output: untrusted text is escaped; a failed write is reported in one line."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.common.errors import UserError
from harness.common.text import escape

MIN_WIDTH = 40
"""Fewest columns in which a table is readable."""
DEFAULT_WIDTH = 80
"""Columns where ``COLUMNS`` is 0, as in a window without a size."""


SUBSTITUTES = {"–": "-", "—": "-", "×": "x", "·": ".", "…": ".", "’": "'", "“": '"', "”": '"'}
"""Character → what stands for it where the stream's encoding lacks it; others become ``?``."""


class Terminal(Console):
    r"""Console for text that holds names, summaries and reasons by unknown authors.

    Square brackets are no markup and ``:words:`` no emoji. Control characters are escaped:
    ``\x1b]0;…`` in a summary could retitle the reader's window, or overwrite lines above it.
    """

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            width=width or parse_columns(os.environ.get("COLUMNS", "")),
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  (passed on)
        """Return a string as it will be printed; tables measure it so and stay straight."""
        return super().render_str(escape_lines(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the escaped segments of a renderable; rich's own control codes stay."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_lines(text), style, control)

    def write_exactly(self, text: str) -> None:
        """Write data as UTF-8, whatever the stream's encoding; no character is replaced."""
        buffer = getattr(self.file, "buffer", None)
        if buffer is None:  # a file in memory
            self.file.write(text)
            return
        self.file.flush()
        buffer.write(text.encode())
        buffer.flush()


class _Output(io.FileIO):
    """Standard stream whose first failed write is a ``UserError``; later ones are dropped."""

    def __init__(self, descriptor: int, *, silent: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._silent = silent
        self._broken = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401  (bytes or the like)
        """Write some bytes.

        Raises:
            BrokenPipeError: the reader has closed the stream.
            UserError: the device is full or broken.
        """
        length = memoryview(data).nbytes
        if self._broken or not length:  # the interpreter flushes at exit; click writes b""
            return length
        try:
            return super().write(data)
        except OSError as error:
            self._broken = True
            if self._silent:  # there is no other stream to report it on; the exit code stays
                return length
            if isinstance(error, BrokenPipeError):
                raise  # rich and click end the program quietly
            what = f"cannot be written ({error.strerror})"
            fix = "make room there, or write to another place"
            raise UserError("standard output", what, fix) from None


def replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a stream's encoding lacks by others of the same width.

    An error handler of ``codecs``. A range such as 3–4 must not read 3?4.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(character, "?") for character in text), error.end


def make_streams_tolerant() -> None:
    """Make the standard streams accept every character, and fail with one line.

    A character that the stream's encoding lacks is replaced. A stream that is not a file, such as
    a test's, stays as it is.
    """
    codecs.register_error("gauntlet.replace", replace_unencodable)
    sys.stdout = _make_tolerant(sys.stdout, "gauntlet.replace", silent=False)
    sys.stderr = _make_tolerant(sys.stderr, "backslashreplace", silent=True)


def _make_tolerant(stream: TextIO, errors: str, *, silent: bool) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # the same with PYTHONUNBUFFERED
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.FileIO):
        return stream
    stream.flush()
    output = _Output(raw.fileno(), silent=silent)
    return io.TextIOWrapper(
        output if raw is buffer else io.BufferedWriter(output),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def parse_columns(text: str) -> int | None:
    """Return a readable width for a ``COLUMNS`` that is too small; otherwise ``None``.

    >>> parse_columns("0"), parse_columns("3"), parse_columns("132"), parse_columns("")
    (80, 40, None, None)
    """
    if not text.isdecimal() or int(text) >= MIN_WIDTH:
        return None
    return MIN_WIDTH if int(text) else DEFAULT_WIDTH


def escape_lines(text: str) -> str:
    """Escape each line of a text; line ends stay."""
    return "\n".join(map(escape, text.split("\n")))
