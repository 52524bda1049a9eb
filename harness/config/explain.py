"""Findings of pydantic in the words of our error messages: what is wrong, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from harness.config.file_model import Problem, Strict
from harness.config.strict_yaml import Loc, nearest, quote

ONE, SEVERAL = "[one]", "[several]"
"""Steps of pydantic's paths, not of a file's: the form of a value that may be a list."""

TYPE_NAMES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
}
BOUNDS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


RENAMED_KEYS = {
    "blind": "no_model_access",
    "joint": "batch_dependent",
    "slice": "eval_subset",
    "strikes": "poisons",
}
"""Former key of a file → its present name, for the error message; old files are not read."""

INNER_KEYS = {
    "train_examples": "data: {student: {name: NAME, train_examples: 500}}",
    "shots": "data: {student: {name: NAME, shots: 5}}",
    "train_fraction": "data: {student: {name: NAME, train_fraction: 0.1}}",
}
"""Key of an entry that people write a level too high → where it belongs."""


def explain_all(model: type[Strict], details: Iterable[ErrorDetails]) -> list[Problem]:
    """Return pydantic's findings as problems; a renamed key is not reported as missing, too."""
    found = [(detail["type"], _explain(model, detail)) for detail in details]
    # an old key is unknown, and its new name is missing: one line for both
    renamed = {
        (*problem.loc[:-1], new)
        for kind, problem in found
        if kind == "extra_forbidden" and (new := _new_name(model, problem.loc))
    }
    return [one for kind, one in found if kind != "missing" or one.loc not in renamed]


def _new_name(model: type[Strict], loc: Loc) -> str | None:
    """Return today's name of an old key at a key path, or ``None``."""
    new = RENAMED_KEYS.get(str(loc[-1]))
    return new if new in _known_keys(model, loc[:-1]) else None


def _explain(model: type[Strict], detail: ErrorDetails) -> Problem:
    """Return one finding as a problem."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    loc = tuple(step for step in detail["loc"] if step not in ("[key]", ONE, SEVERAL))
    found = f"found {quote(value)}"
    if kind == "problem":
        return Problem(loc, str(context["what"]), str(context["fix"]))
    if kind == "missing":
        return Problem(loc, "missing", f"add {loc[-1]}")
    if kind == "extra_forbidden" and (new := _new_name(model, loc)):
        return Problem(loc, f"this key is now called {new}", "rename it")
    if kind == "extra_forbidden" and loc[-1] in INNER_KEYS and len(loc) == 3:
        return Problem(loc, "unknown key here", f"write {INNER_KEYS[str(loc[-1])]}")
    if kind == "extra_forbidden":
        return Problem(loc, "unknown key", nearest(str(loc[-1]), _known_keys(model, loc[:-1])))
    if kind == "literal_error":
        known = re.findall(r"'([^']+)'", context["expected"]) or [str(context["expected"]).lower()]
        what = f"expected one of {', '.join(known)}, {found}"
        hint = nearest(str(value), known)
        return Problem(loc, what, hint if hint.endswith("?") else "choose one of them")
    if kind == "dict_type" and loc and loc[-1] == "data" and isinstance(value, str):
        return Problem(
            loc, f"expected a role and its data set, {found}", f"write {{student: {value}}}"
        )
    if kind in TYPE_NAMES:
        return Problem(loc, f"expected {TYPE_NAMES[kind]}, {found}", _type_fix(kind, value))
    if kind in BOUNDS:
        fix = "write a share, such as 0.05" if context.get("le") == 1 else "change it"
        return Problem(loc, f"expected {BOUNDS[kind].format(**context)}, {found}", fix)
    return Problem(loc, f"{detail['msg']}, {found}", "change it")


def _type_fix(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return f'quote it: "{quote(value)}"'
    if kind == "tuple_type" and isinstance(value, str):
        return f"write [{value[:40]}]"
    if kind == "bool_type":
        return "write true or false"
    if kind in ("int_type", "float_type") and re.fullmatch(r"[-+.\de/]*\d", str(value)):
        return "remove the quotes" if isinstance(value, str) else "round it"
    return "change it"


def _known_keys(model: type[Strict], loc: Loc) -> list[str]:
    """Return the keys that a model knows at a key path."""
    kind: object = model
    for step in loc:
        kind = _type_at(kind, step)
    return [f.alias or n for n, f in kind.model_fields.items()] if _is_model(kind) else []


def _type_at(kind: object, step: str | int) -> object:
    """Return the type of the value one step below a type."""
    if _is_model(kind):
        fields = {f.alias or n: f for n, f in kind.model_fields.items()}
        kind = fields[str(step)].annotation
    else:
        kind = get_args(kind)[0 if isinstance(step, int) else -1]
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
