"""Reader of YAML files: plain JSON-like values, with line and column of each key.

Values that PyYAML's own loaders would reinterpret stay as they are written: ``no`` and ``10:30``
are text, ``1e-3`` is a number, ``8/255`` is a number that keeps its text. Ambiguous YAML is
refused: two equal keys, ``010``, anchors, aliases, merge keys, tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import yaml

from harness.common.errors import UserError, UserErrors
from harness.common.text import find_hidden_character, suggest

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | Unknown | None"
Loc: TypeAlias = tuple[str | int, ...]
Place: TypeAlias = tuple[int, int]

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_DIGITS = 18  # fits an int64, whatever the digits

# The C scanner, where PyYAML was built with it, reads ten times faster; both give the same events.
_Scanner = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LITERALS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_LITERALS |= dict.fromkeys(("true", "True", "TRUE"), True)
_LITERALS |= dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_RATIO = re.compile(r"([-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?) ?/ ?([0-9]{1,18}(?:\.[0-9]{1,18})?)")
_PADDED = re.compile(r"[-+]?0[0-9]")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_CONFLICT = re.compile(r"^(<<<<<<< |>>>>>>> )", re.MULTILINE)


class Ratio(float):
    """Number written as a fraction; ``text`` keeps it as written, without blanks.

    Example:
        >>> Ratio("8 / 255") == 8 / 255, Ratio("8 / 255").text
        (True, '8/255')
    """

    text: str

    def __new__(cls, text: str) -> Ratio:
        """Return the number of ``text`` (digits, a slash, digits), rounded once."""
        above, below = text.split("/")
        self = super().__new__(cls, Fraction(above.strip()) / Fraction(below.strip()))
        self.text = text.replace(" ", "")
        return self

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # float's own gives a float
        return (self.text,)


@dataclass(frozen=True)
class Marks:
    """Line and column, from 1, of each key path in its file."""

    places: dict[Loc, Place] = field(default_factory=dict)

    def at(self, loc: Loc) -> Place:
        """Return the place of a key path, or of the nearest path above it that is in the file."""
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places.get(loc, (1, 1))


@dataclass(frozen=True)
class Document:
    """Content of a YAML file.

    Attributes:
        path: the file.
        data: plain values.
        marks: places of its keys.
    """

    path: Path
    data: Json
    marks: Marks

    def where(self, loc: Loc = ()) -> str:
        """Return ``path:line:column: key`` of a key path."""
        line, column = self.marks.at(loc)
        return ": ".join(filter(None, (f"{display_path(self.path)}:{line}:{column}", key(loc))))

    def error(self, loc: Loc, what: str, fix: str) -> UserError:
        """Return a user's mistake at a key path of this file."""
        return UserError(self.where(loc), what, fix)


class Unknown(Enum):
    """Value that was refused: of no type, so that nothing is concluded from a missing key."""

    UNKNOWN = "unknown"


class Refusal(NamedTuple):
    """Ambiguous part of a file.

    Attributes:
        loc: the key path whose value is unknown, or ``None`` where every value is known.
        place: line and column.
        error: the message.
    """

    loc: Loc | None
    place: Place
    error: UserError


class Parsed(NamedTuple):
    """Content of a file, and what in it was refused; without refusals the document is complete."""

    document: Document
    refusals: tuple[Refusal, ...]

    def known(self, loc: Loc) -> bool:
        """Return whether the value of a key path is what the file says."""
        return not any(r.loc is not None and loc[: len(r.loc)] == r.loc for r in self.refusals)


def parse(path: Path) -> Parsed:
    """Read a YAML file as far as it is unambiguous, so that all its mistakes are reported at once.

    Raises:
        UserErrors: nothing of the file can be used; each with its line and column.
    """
    text = _read_text(path)
    reader = _Reader(path)
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        reader.refuse((line, 1), "a merge conflict was left", "keep one side, delete the markers")
        raise reader.failure()
    try:
        data = reader.document(yaml.parse(text, Loader=_Scanner))
    except yaml.YAMLError as error:
        raise reader.failure(_syntax_error(path, text, error)) from None
    except RecursionError:
        reader.refuse((1, 1), f"nested deeper than {MAX_DEPTH} levels", "flatten it")
        raise reader.failure() from None
    return Parsed(Document(path, data, Marks(reader.places)), tuple(reader.refusals))


def key(loc: Loc) -> str:
    """Return a key path as people write it.

    Example:
        >>> key(("matrices", 0, "budgets", 1, "eps"))
        'matrices[0].budgets[1].eps'
    """
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return "".join(steps).removeprefix(".")


def display_path(path: Path) -> str:
    """Return a path as errors print it: relative where it lies below the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def quote(value: object) -> str:
    """Return a value as errors print it: short, on one line, text in quotes."""
    if isinstance(value, Ratio):
        return value.text
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


RENAMED_PARAMETERS = {"path": ("rel_stepsize", "path / steps")}
"""Former name of a parameter → the present name, and its value where that is another."""


def nearest(word: str, known: Iterable[str], otherwise: str = "known are") -> str:
    """Return the hint for an unknown word: its new name, the nearest known word, or all of them.

    Example:
        >>> nearest("path", ["steps", "rel_stepsize"])
        'it is now "rel_stepsize": path / steps'
        >>> nearest("parms", ["name", "params"])
        'did you mean "params"?'
        >>> nearest("zzz", ["name", "params"])
        'known are name, params'
    """
    known = list(known)
    new, value = RENAMED_PARAMETERS.get(word, ("", ""))
    if new in known:
        return f'it is now "{new}"' + (f": {value}" if value else "")
    return suggest(word, known, otherwise)


def _read_text(path: Path) -> str:
    """Return the file's text without a byte order mark."""
    name = display_path(path)
    try:
        if not path.is_file():
            raise UserError(name, "no such file", "check the path")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(name, f"cannot be read ({reason})", "check path and rights") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{name}:1:1", f"larger than {MAX_BYTES:,} bytes", "is it the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        what = f"not UTF-8 text, found byte 0x{error.object[error.start]:02x}"
        raise UserError(f"{name}:{line}:{column}", what, "save the file as UTF-8") from None


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> UserError:
    """Return PyYAML's error as one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # the character reader gives a position instead
        before = text[: getattr(error, "position", 0)]
        line, column = before.count("\n"), len(before.rpartition("\n")[2])
        what, fix = "a character that YAML does not allow", "delete it"
    else:
        line, column = mark.line, mark.column
        context, problem = getattr(error, "context", None), getattr(error, "problem", None)
        what = " ".join(filter(None, (context, problem))) or "not YAML"
        fix = "correct the YAML here or just above"
        lines = text.splitlines()
        row = lines[line] if line < len(lines) else ""
        if "\t" in row[: len(row) - len(row.lstrip())]:
            what, fix = "a tab in the indentation", "use spaces"
    return UserError(f"{display_path(path)}:{line + 1}:{column + 1}", f"broken YAML: {what}", fix)


class _Reader:
    """Builds plain values from parser events; notes the place of each, collects what it refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Loc, Place] = {}
        self.refusals: list[Refusal] = []

    def refuse(
        self, place: Place, what: str, fix: str, loc: Loc = (), unknown: Loc | None = None
    ) -> None:
        """Note what is wrong.

        Args:
            place: line and column.
            what: what is wrong.
            fix: what to do.
            loc: the key path to name.
            unknown: the key path whose value is lost, if one is.
        """
        where = f"{display_path(self.path)}:{place[0]}:{place[1]}"
        error = UserError(": ".join(filter(None, (where, key(loc)))), what, fix)
        self.refusals.append(Refusal(unknown, place, error))

    def failure(self, *more: UserError) -> UserErrors:
        """Return all that was refused so far, where nothing else can be said of the file."""
        return UserErrors([*(refusal.error for refusal in self.refusals), *more])

    def document(self, events: Iterator[yaml.Event]) -> Json:
        """Return the value of the only document."""
        data: Json = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.refuse(_place(event), "a second document in one file", "remove the ---")
                value = self._value(next(events), events, ())
                data = value if documents == 1 else data
        if data is None and not self.refusals:
            self.refuse((1, 1), "the file is empty", "fill it, or delete it", unknown=())
        return data

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], loc: Loc) -> Json:
        place = _place(event)
        self.places.setdefault(loc, place)  # a key's own place wins over its value's
        if len(loc) > MAX_DEPTH:
            raise RecursionError
        if isinstance(event, yaml.AliasEvent):
            self.refuse(place, f"an alias (*{event.anchor})", "write the value out", loc, loc)
            return Unknown.UNKNOWN
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            self.refuse(place, f"an anchor (&{event.anchor})", "remove it", loc)
        if event.tag is not None and event.tag != "!":
            self.refuse(place, f"a tag ({event.tag})", "remove it; quote what is text", loc, loc)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place, loc)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, loc)
        return self._sequence(events, loc)

    def _sequence(self, events: Iterator[yaml.Event], loc: Loc) -> list[Json]:
        items: list[Json] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._value(event, events, (*loc, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], loc: Loc) -> dict[str, Json]:
        entries: dict[str, Json] = {}
        first: dict[str, int] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            name = self._key(event, events, loc)
            inner = (*loc, name)
            if name in entries:
                what = f"duplicate key (first on line {first[name]})"
                self.refuse(_place(event), what, "keep one", inner)
            self.places.setdefault(inner, _place(event))
            value = self._value(next(events), events, inner)
            entries.setdefault(name, value)  # the places are those of the first one, too
            first.setdefault(name, _place(event)[0])
        return entries

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], loc: Loc) -> str:
        """Return a key: its text, whatever that would mean as a value."""
        place = _place(event)
        if not isinstance(event, yaml.ScalarEvent):
            inner = (*loc, "?")
            self.refuse(place, "a key that is not a word", "write key: value", loc, inner)
            self._value(event, events, inner)
            return "?"
        inner = (*loc, str(event.value))
        if event.value == "<<" and not event.style:
            self.refuse(place, "a merge key (<<)", "write the keys out", loc, inner)
        elif event.anchor is not None or event.tag is not None or not event.value:
            self.refuse(place, "an empty or marked key", "write a plain word", loc, inner)
        return str(event.value)

    def _scalar(self, event: yaml.ScalarEvent, place: Place, loc: Loc) -> Json:
        if letter := find_hidden_character(event.value):
            self.refuse(place, f"invisible character U+{int(letter[2:], 16):04X}", "delete it", loc)
        if event.style:  # None or "" when plain, depending on the scanner
            return str(event.value)
        try:
            return _parse_scalar(event.value)
        except ValueError as error:
            fix = f'quote it ("{event.value[:20]}") if it is text'
            self.refuse(place, f"{error}, found {event.value[:40]}", fix, loc, loc)
            return Unknown.UNKNOWN


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    assert mark is not None
    return mark.line + 1, mark.column + 1


def _parse_scalar(text: str) -> Json:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: a number without a clear or finite meaning.
    """
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        if _PADDED.match(text):
            raise ValueError("a number with a leading zero is ambiguous")
        if len(text.lstrip("+-")) > MAX_DIGITS:
            raise ValueError(f"a whole number of more than {MAX_DIGITS} digits")
        return int(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("expected a finite number")
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise ValueError("expected a finite number")
        return number
    if ratio := _RATIO.fullmatch(text):
        if Fraction(ratio[2]) == 0:
            raise ValueError("a fraction with nothing below the line")
        return Ratio(text)
    return text
