"""The terminal: what strangers wrote is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.words import visible


class Terminal(Console):
    r"""A console for text that holds names, summaries and reasons by people we do not know.

    Square brackets are no markup, ``:words:`` no pictures, and control characters are written as
    escapes: ``\x1b]0;…`` in a summary would retitle the reader's window, or rewrite lines above it.
    """

    def __init__(
        self, *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
    ) -> None:
        super().__init__(
            stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False
        )

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of anything printable; rich's own control codes stay what they are."""
        for text, style, control in super().render(renderable, options):
            shown = text if control else "\n".join(map(visible, text.split("\n")))
            yield Segment(shown, style, control)
