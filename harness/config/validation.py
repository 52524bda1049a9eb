"""Reading of files into models: structure, relations between keys, and errors with places.

Pydantic checks the structure, each model's ``problems`` the relations of several keys. Both end as
``path:line:column: key: what, found; fix``, all of a file at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.common.errors import UserError, UserErrors, split
from harness.config.explain import explain_all
from harness.config.file_model import Problem, Strict
from harness.config.strict_yaml import Document, Parsed, parse, quote

NEWEST = 1
"""The N of ``manifest/N`` and ``benchmark/N``."""

M = TypeVar("M", bound=Strict)
T = TypeVar("T")


def read_model(
    model: type[M],
    path: Path,
    schema: str,
    check_folder: Callable[[Document], Iterable[Problem]] = lambda _: (),
) -> M:
    """Read a file as a model.

    Args:
        model: type of the result.
        path: the file.
        schema: the word before the slash in its ``schema``.
        check_folder: finds what the model cannot know, about the file's folder.

    Raises:
        UserErrors: everything wrong with the file, in its order.
    """
    parsed = parse(path)
    document = parsed.document
    found = None
    problems = list(_schema_problems(document, schema))
    if not problems:
        problems += check_folder(document)
        try:
            found = model.model_validate(document.data)
        except ValidationError as error:
            problems += explain_all(model, error.errors(include_url=False))
    if found is None or problems or parsed.refusals:
        raise UserErrors(_ordered_errors(parsed, problems))
    found._document = document
    return found


def _ordered_errors(parsed: Parsed, problems: Iterable[Problem]) -> list[UserError]:
    """Return a file's mistakes in its order; a value that was refused is reported once."""
    document = parsed.document
    found = [(refusal.place, refusal.error) for refusal in parsed.refusals]
    found += [
        (document.marks.at(one.loc), document.error(*one))
        for one in problems
        if parsed.known(one.loc)
    ]
    return [error for _, error in sorted(found, key=lambda pair: pair[0])]


def name_problems(document: Document, folder: str) -> Iterator[Problem]:
    """Yield a ``name`` that is not the folder's: there is one way to find a file."""
    name = document.data.get("name") if isinstance(document.data, dict) else None
    if isinstance(name, str) and name != folder:
        what = f"expected the folder's name {quote(folder)}, found {quote(name)}"
        yield Problem(("name",), what, "rename one of them")


def read_all(read: Callable[[Path], T], paths: Iterable[Path]) -> tuple[list[T], list[UserError]]:
    """Return what could be read, and every error of all the files that could not."""
    good: list[T] = []
    errors: list[UserError] = []
    for path in paths:
        try:
            good.append(read(path))
        except UserError as error:
            errors += split(error)
    return good, errors


def _schema_problems(document: Document, schema: str) -> Iterator[Problem]:
    """Yield what is wrong with ``schema``.

    It is checked before all else, so that an old harness does not complain about new keys.
    """
    if not isinstance(document.data, dict):
        yield Problem(
            (), f"expected keys and values, found {quote(document.data)}", "see README.md"
        )
        return
    found, newest = document.data.get("schema"), f"{schema}/{NEWEST}"
    if found == newest:
        return
    loc = ("schema",)
    number = re.fullmatch(rf"{schema}/([0-9]{{1,9}})", str(found))
    if found is None:
        yield Problem(loc, "missing", f"add schema: {newest}")
    elif number and int(number[1]) > NEWEST:
        what = f"{quote(found)} is newer than this gauntlet, which knows {newest}"
        yield Problem(loc, what, "upgrade gauntlet")
    else:
        yield Problem(loc, f"expected {newest}, found {quote(found)}", f"write {newest}")
