"""The terminal: what strangers wrote is shown, never obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

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

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401  (handed on)
        """A string as it will be shown; it is measured so, and tables stay straight."""
        return super().render_str(shown(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of anything printable; rich's own control codes stay what they are."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown(text), style, control)


def shown(text: str) -> str:
    """Text with everything visible but its line ends."""
    return "\n".join(map(visible, text.split("\n")))
