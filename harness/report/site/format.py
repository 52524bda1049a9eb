"""Formats of numbers, texts and addresses on the pages.

Pure functions of one value each, so that no template formats a number by hand.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup, escape

from harness.common.text import escape as escape_hidden

_SLUG_LENGTH = 80
_FEW = 200
_MINUTE, _HOUR = 60, 3600


def finalize(value: object) -> object:
    """Escape control characters in a printed template expression; our own markup stays as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_hidden(value)
    return value


def slug(name: str) -> str:
    """Return a name as one safe path segment; different names never share one.

    >>> slug("pgd/pgd-100"), slug("A b"), slug("..")
    ('pgd.pgd-100', '~41~20b', '~2e~2e')
    """
    safe = "".join(_segment(character) for character in name) or "~"
    if len(safe) <= _SLUG_LENGTH:
        return safe
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe[: _SLUG_LENGTH - 14]}~~{digest}"


def _segment(character: str) -> str:
    if character == "/":
        return "."
    if character.isascii() and (character.islower() or character.isdigit() or character in "-_"):
        return character
    return "".join(f"~{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def anchor(label: str, among: Sequence[str]) -> str:
    """Return a readable fragment for one of several labels; different labels never share one.

    >>> anchor("L∞ 8/255", ["L∞ 8/255", "L2 0.5"])
    'linf-8-255'
    """
    short = [_fragment(other) for other in among]
    own = _fragment(label)
    return own if short.count(own) == 1 else f"{own}-{list(among).index(label)}"


def _fragment(label: str) -> str:
    plain = label.lower().replace("∞", "inf").replace("%", "pct").replace("×", "x")
    return "-".join(re.findall(r"[a-z0-9.]+", plain)) or "budget"


def decimals(*, n: int | None) -> int:
    """Return the decimals of a percentage of ``n`` examples: one, or none below 200."""
    return 0 if n is not None and n < _FEW else 1


def percent(value: float, places: int = 1) -> str:
    """Return a fraction in per cent, without the unit, which the header has.

    >>> percent(0.5), percent(0.0449, 0), percent(-0.00001)
    ('50.0', '4', '0.0')
    """
    return _signed(100 * value, places)


def points(value: float, places: int = 1) -> str:
    """Return a difference in points, always signed.

    >>> points(-0.312), points(0.02)
    ('−31.2', '+2.0')
    """
    text = _signed(100 * value, places)
    return text if text.startswith("−") or not text.strip("0.") else f"+{text}"


def _signed(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", "−")


def interval(lo: float, hi: float, places: int = 1) -> str:
    """Return an interval in per cent.

    >>> interval(0.479, 0.541)
    '47.9–54.1'
    """
    return f"{percent(lo, places)}–{percent(hi, places)}"


def count(value: float) -> str:
    """Return a whole number with commas."""
    return f"{value:,.0f}".replace("-", "−")


def number(value: object) -> str:
    """Return any other figure to four significant digits; text stays text.

    >>> number(0.0313725), number(12000), number(None), number(1e-7)
    ('0.03137', '12,000', '–', '1e−07')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "not finite"
        text = f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
        return text.replace("-", "−")
    return str(value)


def radius(value: float) -> str:
    """Return a change of one number, in 255ths.

    >>> radius(8 / 255), radius(0.5), radius(0.0)
    ('8/255', '127.5/255', '0')
    """
    return f"{255 * value:.4g}/255" if value else "0"


def distance(value: float, norm: str) -> str:
    """Return a distance: in 255ths in L∞, as a number in L2.

    >>> distance(8 / 255, "linf"), distance(0.50212, "l2")
    ('8/255', '0.502')
    """
    return f"{255 * value:.3g}/255" if norm == "linf" else f"{value:.3g}"


def distance_interval(lo: float | None, hi: float | None, norm: str) -> str:
    """Return the interval of a distance; an empty text where there is none.

    >>> distance_interval(0.4, 0.6, "l2"), distance_interval(None, None, "l2")
    ('0.4–0.6', '')
    """
    return "–".join(distance(end, norm) for end in (lo, hi) if end is not None)


def decibels(value: float) -> str:
    """Return a signal-to-noise ratio without the unit, which the header has."""
    return _signed(value, 1)


def similarity(value: float) -> str:
    """Return a structural similarity; it is printed as 1 only where it is 1.

    >>> similarity(0.9234), similarity(0.99999), similarity(1.0)
    ('0.923', '> 0.999', '1')
    """
    if value >= 1.0:
        return "1"
    return "> 0.999" if value > 0.9995 else f"{value:.3f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a duration in the largest fitting unit.

    >>> duration(0.04), duration(3.21), duration(42), duration(540), duration(11520)
    ('0.04 s', '3.2 s', '42 s', '9 min', '3 h 12 min')
    """
    if seconds < 0.095:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if round(seconds) < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    hours, rest = divmod(round(seconds / _MINUTE), 60)
    return f"{hours:,} h {rest} min" if rest else f"{hours:,} h"


def size(value: float) -> str:
    """Return a number of bytes in binary units.

    >>> size(512), size(1288490188)
    ('512 B', '1.2 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError


def ratio(value: float) -> str:
    """Return a multiple, as ``1.8 ×``."""
    return f"{value:.1f} ×" if value < 10 else f"{value:,.0f} ×"


def date(moment: str) -> str:
    """Return the day of an ISO moment; other text stays as it is.

    >>> date("2026-11-14T09:30:00+00:00")
    '14 Nov 2026'
    """
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{parsed.day} {parsed:%b %Y}"


def breakable(name: str) -> Markup:
    """Return a name that may break after underscores and slashes, as it does after hyphens."""
    return Markup(re.sub(r"([_/])", r"\1<wbr>", str(escape(escape_hidden(name)))))  # noqa: S704  (escaped)


def inside(title: str) -> str:
    """Return a title as it stands inside a sentence.

    >>> inside("Robust mIoU"), inside("mIoU left")
    ('robust mIoU', 'mIoU left')
    """
    return title[:1].lower() + title[1:]


def sentence(text: str) -> str:
    """Return a text as one sentence: a capital at the start, a full stop at the end.

    >>> sentence("stopped at its time limit"), sentence("Why?")
    ('Stopped at its time limit.', 'Why?')
    """
    end = "" if text.endswith((".", "!", "?")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}"


def spreadsheet(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    >>> spreadsheet("=1+1"), spreadsheet("pgd")
    ("'=1+1", 'pgd')
    """
    safe = escape_hidden(text)
    return f"'{safe}" if safe[:1] in {"=", "+", "-", "@"} else safe
