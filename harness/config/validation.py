"""What manifests and benchmarks share: a strict model, types of fields, errors with places.

Structure is pydantic's; what relates several keys is said by each model's ``problems``. Both end as
``path:line:column: key: what, found; fix``, all of a file at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from harness.common.errors import UserError, UserErrors, split
from harness.config.strict_yaml import Document, Loc, Parsed, Ratio, key, nearest, parse, quoted

NEWEST = 1  # the N of manifest/N and benchmark/N

Task: TypeAlias = Literal["classification", "ranking", "segmentation"]
ThreatModel: TypeAlias = Literal[
    "evasion", "evasion-query", "evasion-transfer", "poisoning", "backdoor", "supply-chain"
]
Inputs: TypeAlias = Literal["images", "features", "items"]
THREAT_MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
Value: TypeAlias = bool | int | float | str


class Problem(NamedTuple):
    """A mistake at a key path: what is wrong, and what to do."""

    loc: Loc
    what: str
    fix: str


def problem(what: str, fix: str) -> PydanticCustomError:
    """The same, to be raised by a field's own validator."""
    return PydanticCustomError("problem", "{what}", {"what": what, "fix": fix})


class Strict(BaseModel):
    """A frozen model without coercions or unknown keys, that knows the file it was read from."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", serialize_by_alias=True)

    _document: Document | None = PrivateAttr(default=None)

    def problems(self) -> Iterator[Problem]:
        """What is wrong between keys, once each is right by itself."""
        yield from ()

    def where(self, loc: Loc = ()) -> str:
        """``path:line:column: key`` of a key path, for errors found later; else the key alone."""
        if self._document is not None:
            return self._document.where(loc)
        return ": ".join(filter(None, (str(getattr(self, "name", "")), key(loc))))

    @model_validator(mode="after")
    def _refuse_problems(self) -> Self:
        found = [
            InitErrorDetails(type=problem(what, fix), loc=loc, input=None)
            for loc, what, fix in self.problems()
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self


M = TypeVar("M", bound=Strict)
T = TypeVar("T")


def validated(
    model: type[M],
    path: Path,
    form: str,
    beside: Callable[[Document], Iterable[Problem]] = lambda _: (),
) -> M:
    """The file as a model.

    Args:
        model: what it should be. path: the file.
        form: the word before the slash in its ``schema``.
        beside: finds what the model cannot know, about the file's folder.

    Raises:
        UserErrors: everything wrong with it, in the order of the file.
    """
    parsed = parse(path)
    document = parsed.document
    found = None
    problems = list(_form_problems(document, form))
    if not problems:
        problems += beside(document)
        try:
            found = model.model_validate(document.data)
        except ValidationError as error:
            problems += _explained_all(model, error.errors(include_url=False))
    if found is None or problems or parsed.refusals:
        raise UserErrors(_in_order(parsed, problems))
    found._document = document
    return found


def _in_order(parsed: Parsed, problems: Iterable[Problem]) -> list[UserError]:
    """What is wrong with a file; nothing is said twice about a value that was refused."""
    document = parsed.document
    found = [(refusal.place, refusal.error) for refusal in parsed.refusals]
    found += [
        (document.marks.at(one.loc), document.error(*one))
        for one in problems
        if parsed.known(one.loc)
    ]
    return [error for _, error in sorted(found, key=lambda pair: pair[0])]


def name_problems(document: Document, folder: str) -> Iterator[Problem]:
    """A file's ``name`` is its folder's: there is one way to find it."""
    name = document.data.get("name") if isinstance(document.data, dict) else None
    if isinstance(name, str) and name != folder:
        what = f"expected the folder's name {quoted(folder)}, found {quoted(name)}"
        yield Problem(("name",), what, "rename one of them")


def gathered(read: Callable[[Path], T], paths: Iterable[Path]) -> tuple[list[T], list[UserError]]:
    """What could be read, and every error of all the files that could not."""
    good: list[T] = []
    errors: list[UserError] = []
    for path in paths:
        try:
            good.append(read(path))
        except UserError as error:
            errors += split(error)
    return good, errors


def _form_problems(document: Document, form: str) -> Iterator[Problem]:
    """Looked at before anything else, so that an old harness does not complain about new keys."""
    if not isinstance(document.data, dict):
        yield Problem(
            (), f"expected keys and values, found {quoted(document.data)}", "see README.md"
        )
        return
    found, newest = document.data.get("schema"), f"{form}/{NEWEST}"
    if found == newest:
        return
    loc = ("schema",)
    number = re.fullmatch(rf"{form}/([0-9]{{1,9}})", str(found))
    if found is None:
        yield Problem(loc, "missing", f"add schema: {newest}")
    elif number and int(number[1]) > NEWEST:
        what = f"{quoted(found)} is newer than this gauntlet, which knows {newest}"
        yield Problem(loc, what, "upgrade gauntlet")
    else:
        yield Problem(loc, f"expected {newest}, found {quoted(found)}", f"write {newest}")


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
}
_BOUNDS = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


RENAMED = {
    "blind": "no_model_access",
    "joint": "batch_dependent",
    "slice": "eval_subset",
    "strikes": "poisons",
}
"""Old key → its name today. There is no second reader: an old file gets a line that says so."""


def _explained_all(model: type[Strict], details: Iterable[ErrorDetails]) -> list[Problem]:
    """Return pydantic's findings as problems; a renamed key is not reported as missing too."""
    found = [(detail["type"], _explained(model, detail)) for detail in details]
    renamed = {
        (*problem.loc[:-1], new)
        for kind, problem in found
        if kind == "extra_forbidden" and (new := _new_name(model, problem.loc))
    }
    return [one for kind, one in found if kind != "missing" or one.loc not in renamed]


def _new_name(model: type[Strict], loc: Loc) -> str | None:
    """Return today's name of an old key at a key path, or ``None``."""
    new = RENAMED.get(str(loc[-1]))
    return new if new in _keys(model, loc[:-1]) else None


def _explained(model: type[Strict], detail: ErrorDetails) -> Problem:
    """Pydantic's finding in our words."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    loc = tuple(step for step in detail["loc"] if step != "[key]")
    found = f"found {quoted(value)}"
    if kind == "problem":
        return Problem(loc, str(context["what"]), str(context["fix"]))
    if kind == "missing":
        return Problem(loc, "missing", f"add {loc[-1]}")
    if kind == "extra_forbidden" and (new := _new_name(model, loc)):
        return Problem(loc, f"this key is now called {new}", "rename it")
    if kind == "extra_forbidden":
        return Problem(loc, "unknown key", nearest(str(loc[-1]), _keys(model, loc[:-1])))
    if kind == "literal_error":
        known = re.findall(r"'([^']+)'", context["expected"]) or [str(context["expected"]).lower()]
        what = f"expected one of {', '.join(known)}, {found}"
        hint = nearest(str(value), known)
        return Problem(loc, what, hint if hint.endswith("?") else "choose one of them")
    if kind in _TYPES:
        return Problem(loc, f"expected {_TYPES[kind]}, {found}", _retype(kind, value))
    if kind in _BOUNDS:
        fix = "write a share, such as 0.05" if context.get("le") == 1 else "change it"
        return Problem(loc, f"expected {_BOUNDS[kind].format(**context)}, {found}", fix)
    return Problem(loc, f"{detail['msg']}, {found}", "change it")


def _retype(kind: str, value: object) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return f'quote it: "{quoted(value)}"'
    if kind == "tuple_type" and isinstance(value, str):
        return f"write [{value[:40]}]"
    if kind == "bool_type":
        return "write true or false"
    if kind in ("int_type", "float_type") and re.fullmatch(r"[-+.\de/]*\d", str(value)):
        return "remove the quotes" if isinstance(value, str) else "round it"
    return "change it"


def _keys(model: type[Strict], loc: Loc) -> list[str]:
    """The keys that are known at a key path."""
    kind: object = model
    for step in loc:
        kind = _inside(kind, step)
    return [f.alias or n for n, f in kind.model_fields.items()] if _is_model(kind) else []


def _inside(kind: object, step: str | int) -> object:
    """The type of what stands at one step below."""
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


# Types of fields.

NAME = r"[a-z0-9][a-z0-9_-]{0,40}"


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        what = f"expected up to 41 of a-z, 0-9, _ and -, found {quoted(text)}"
        raise problem(what, "use a name that can be a folder and a part of an address")
    return text


def _unique(items: tuple[T, ...]) -> tuple[T, ...]:
    twice = [item for i, item in enumerate(items) if item in items[:i]]
    if twice:
        raise problem(f"{quoted(twice[0])} stands twice", "keep one")
    return items


def _not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    # Not pydantic's min_length: that also complains when every entry was refused already.
    if not items:
        raise problem("expected at least one entry, found []", "add one")
    return items


def _value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise problem(f"expected a number, text, true or false, found {quoted(value)}", "change it")
    return value


def _number(value: object, check: ValidatorFunctionWrapHandler) -> object:
    checked = check(value)
    return value if isinstance(value, Ratio) else checked


_RATIO_TEXT = {"type": "string", "pattern": r"^[0-9.]+ ?/ ?[0-9.]+$"}

Name: TypeAlias = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
]
List: TypeAlias = Annotated[tuple[T, ...], Field(strict=False)]  # YAML has lists, frozen has tuples
Set: TypeAlias = Annotated[tuple[T, ...], Field(strict=False), AfterValidator(_unique)]
NonEmpty: TypeAlias = Annotated[
    tuple[T, ...],
    Field(strict=False, json_schema_extra={"minItems": 1}),
    AfterValidator(_not_empty),
]
NonEmptySet: TypeAlias = Annotated[NonEmpty[T], AfterValidator(_unique)]
AnyValue: TypeAlias = Annotated[
    Value, PlainValidator(_value), WithJsonSchema({"type": ["boolean", "number", "string"]})
]
Values: TypeAlias = dict[str, AnyValue]
Positive: TypeAlias = Annotated[
    float,
    Field(gt=0),
    WrapValidator(_number),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, _RATIO_TEXT]}),
]
Fraction: TypeAlias = Annotated[
    float,
    Field(gt=0, le=1),
    WrapValidator(_number),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, _RATIO_TEXT]}
    ),
]
Count: TypeAlias = Annotated[int, Field(ge=1)]


class Limits(Strict):
    """Limits of one stage: time and memory."""

    minutes: Positive = Field(
        description="Wall-clock time of one stage, in minutes. A stage that takes longer is "
        "stopped and ends as `timeout`."
    )
    memory_gb: Positive = Field(
        description="Main memory of one stage, in GiB (2^30 bytes). A stage that takes more is "
        "stopped and ends as `out_of_memory`."
    )
