"""Untrusted text (names, summaries, reasons, paths, log lines), and hints for misspelt words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

REASON_LENGTH = 500
"""Characters of a reason that are kept."""

MOST_KNOWN = 50
"""Known words that a hint lists."""

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control, bidirectional and zero-width characters, and lone surrogates."""


def escape(text: str) -> str:
    r"""Escape control characters and invisible characters in untrusted text.

    >>> escape("a\x1b[31mb"), escape("\u202egnp")
    ('a\\x1b[31mb', '\\u202egnp')
    """
    return _HIDDEN.sub(lambda match: escape_character(match[0]), text)


def escape_character(character: str) -> str:
    """Write one character as an escape of Python and JSON."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def find_hidden_character(text: str) -> str | None:
    r"""Find the first character that ``escape`` would change, apart from line ends and tabs.

    Returns:
        The escaped character, or ``None``.

    >>> find_hidden_character("two\nlines"), find_hidden_character("a\x07b")
    (None, '\\x07')
    """
    found = _HIDDEN.search(text.replace("\n", " ").replace("\t", " "))
    return None if found is None else escape_character(found[0])


def escape_json(text: str) -> str:
    r"""Escape in JSON text what ``escape`` would; the value stays the same.

    >>> escape_json('"\x9b2J"')
    '"\\u009b2J"'
    """
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    r"""Shorten a module's message to one printable line for terminals, pages and JSON.

    >>> one_line("a\x1b[31mb\nc")
    'a\ufffd[31mb c'
    """
    words = " ".join(text[: 4 * REASON_LENGTH].split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words)[:REASON_LENGTH]


def error_reason(error: BaseException) -> str:
    """Return an exception's text in one line, without addresses in memory; else its type.

    >>> error_reason(OSError("no <_io.BytesIO object at 0x7f01>")), error_reason(EOFError())
    ('no', 'EOFError')
    """
    text = re.sub(r":? ?<\S+ object at 0x[0-9a-f]+>", "", one_line(str(error)))
    return text or type(error).__name__


def list_first(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are.

    >>> list_first(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def suggest(word: str, known: Iterable[str], otherwise: str = "known are") -> str:
    """Return the hint for an unknown word: the nearest known word, or all of them.

    Args:
        word: the unknown word.
        known: words that would be accepted.
        otherwise: introduces the list of known words where none is near.

    >>> suggest("parms", ["name", "params"])
    'did you mean "params"?'
    >>> suggest("zzz", ["name", "params"])
    'known are name, params'
    """
    known = list(known)
    if close := get_close_matches(word, known, n=1, cutoff=0.5):
        return f'did you mean "{close[0]}"?'
    more = f" and {len(known) - MOST_KNOWN:,} more" if len(known) > MOST_KNOWN else ""
    return f"{otherwise} {', '.join(known[:MOST_KNOWN])}{more}" if known else "remove it"
