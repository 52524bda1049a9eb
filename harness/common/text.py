"""Strangers' text made harmless to look at: names, summaries, reasons, paths, lines of a log."""

from __future__ import annotations

import re

REASON_LENGTH = 500
"""Characters of a reason that are kept."""

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control, bidirectional and zero-width characters, and lone surrogates."""


def visible(text: str) -> str:
    r"""Text in which every character that would be obeyed or not be seen is written as an escape.

    >>> visible("a\x1b[31mb"), visible("\u202egnp")
    ('a\\x1b[31mb', '\\u202egnp')
    """
    return _HIDDEN.sub(lambda match: escaped(match[0]), text)


def escaped(character: str) -> str:
    """One character as Python and JSON would write it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def hidden(text: str) -> str | None:
    r"""The first character that ``visible`` would escape, escaped; line ends and tabs are layout.

    >>> hidden("two\nlines"), hidden("a\x07b")
    (None, '\\x07')
    """
    found = _HIDDEN.search(text.replace("\n", " ").replace("\t", " "))
    return None if found is None else escaped(found[0])


def json_safe(text: str) -> str:
    r"""JSON in which no string holds a character that ``visible`` would escape; it means the same.

    >>> json_safe('"\x9b2J"')
    '"\\u009b2J"'
    """
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    r"""One printable line of what a module said; it goes to terminals, pages and JSON.

    >>> one_line("a\x1b[31mb\nc")
    'a\ufffd[31mb c'
    """
    words = " ".join(text[: 4 * REASON_LENGTH].split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words)[:REASON_LENGTH]
