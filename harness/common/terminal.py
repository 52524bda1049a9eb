"""The terminal: untrusted text is escaped, and a stream that cannot be written is one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.common.errors import UserError
from harness.common.text import visible

NARROWEST = 40
"""Columns below which a table cannot be read."""
USUAL = 80
"""Columns where ``COLUMNS`` says none, as in a window without a size."""


class Terminal(Console):
    r"""A console for text that holds names, summaries and reasons by people we do not know.

    Square brackets are no markup, ``:words:`` no pictures, and control characters are written as
    escapes: ``\x1b]0;…`` in a summary would retitle the reader's window, or rewrite lines above it.
    """

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            width=width or columns(os.environ.get("COLUMNS", "")),
            markup=False,
            emoji=False,
            highlight=False,
        )

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  (handed on)
        """A string as it will be shown; it is measured so, and tables stay straight."""
        return super().render_str(shown(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of anything printable; rich's own control codes stay what they are."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown(text), style, control)

    def write_exactly(self, text: str) -> None:
        """Write data as UTF-8, whatever the stream's encoding: no character is replaced in it."""
        buffer = getattr(self.file, "buffer", None)
        if buffer is None:  # a file in memory
            self.file.write(text)
            return
        self.file.flush()
        buffer.write(text.encode())
        buffer.flush()


class _Output(io.FileIO):
    """A standard stream whose first failed write is a ``UserError``; later ones are dropped."""

    def __init__(self, descriptor: int, *, silent: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._silent = silent
        self._broken = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401  (bytes or the like)
        """Write some bytes.

        Raises:
            BrokenPipeError: the reader has gone. UserError: the device is full, or broken.
        """
        length = memoryview(data).nbytes
        if self._broken or not length:  # the interpreter flushes at its end; click tries with none
            return length
        try:
            return super().write(data)
        except OSError as error:
            self._broken = True
            if self._silent:  # there is no other place to say so; the exit code stays
                return length
            if isinstance(error, BrokenPipeError):
                raise  # rich and click end the program quietly
            what = f"cannot be written ({error.strerror})"
            fix = "make room there, or write to another place"
            raise UserError("standard output", what, fix) from None


def make_streams_tolerant() -> None:
    """Make the standard streams take every character, and fail with one line.

    A character that the stream's encoding lacks is replaced. A stream that is no file, such as a
    test's, stays as it is.
    """
    sys.stdout = _tolerant_stream(sys.stdout, "replace", silent=False)
    sys.stderr = _tolerant_stream(sys.stderr, "backslashreplace", silent=True)


def _tolerant_stream(stream: TextIO, errors: str, *, silent: bool) -> TextIO:
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


def columns(text: str) -> int | None:
    """The width that ``COLUMNS`` asks for where rich would obey it to the letter; else ``None``.

    >>> columns("0"), columns("3"), columns("132"), columns("")
    (80, 40, None, None)
    """
    if not text.isdecimal() or int(text) >= NARROWEST:
        return None
    return NARROWEST if int(text) else USUAL


def shown(text: str) -> str:
    """Text with everything visible but its line ends."""
    return "\n".join(map(visible, text.split("\n")))
