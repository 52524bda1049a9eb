"""Types of fields that manifests and benchmarks share."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, Literal, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from harness.config.file_model import Strict, field_error
from harness.config.strict_yaml import Ratio, quote

Task: TypeAlias = Literal["classification", "ranking", "segmentation"]
ThreatModel: TypeAlias = Literal[
    "evasion", "evasion-query", "evasion-transfer", "poisoning", "backdoor", "supply-chain"
]
Inputs: TypeAlias = Literal["images", "features", "items"]
Need: TypeAlias = Literal["loss", "features", "maps", "gradients", "weights"]
THREAT_MODELS: tuple[ThreatModel, ...] = get_args(ThreatModel)
Value: TypeAlias = bool | int | float | str
Limit: TypeAlias = Value | list[float]
"""Plain value of a budget's field."""

T = TypeVar("T")

NAME = r"[a-z0-9][a-z0-9_-]{0,40}"


def _name(text: str) -> str:
    if not re.fullmatch(NAME, text):
        what = f"expected up to 41 of a-z, 0-9, _ and -, found {quote(text)}"
        raise field_error(what, "use a name that can be a folder and a part of an address")
    return text


def _data_name(text: str) -> str:
    return text if text.endswith(".yaml") else _name(text)


def _line(text: str) -> str:
    if not text.strip() or "\n" in text.strip():
        raise field_error(f"expected one line of text, found {quote(text)}", "write one")
    return text.strip()


def _question(text: str) -> str:
    line = _line(text)
    if not line.endswith("?"):
        what = f"expected a sentence that ends with a question mark, found {quote(text)}"
        raise field_error(what, "ask what the figures answer")
    return line


def _unique(items: tuple[T, ...]) -> tuple[T, ...]:
    with contextlib.suppress(TypeError):  # not all can be hashed
        if len(set(items)) == len(items):
            return items
    twice = [item for i, item in enumerate(items) if item in items[:i]]
    if twice:
        raise field_error(f"duplicate entry {quote(twice[0])}", "keep one")
    return items


def _not_empty(items: tuple[T, ...]) -> tuple[T, ...]:
    # Not pydantic's min_length: that also complains when every entry was refused already.
    if not items:
        raise field_error("expected at least one entry, found []", "add one")
    return items


def _value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise field_error(
            f"expected a number, text, true or false, found {quote(value)}", "change it"
        )
    return value


def _number(value: object, check: ValidatorFunctionWrapHandler) -> object:
    checked = check(value)
    return value if isinstance(value, Ratio) else checked


_RATIO_TEXT = {"type": "string", "pattern": r"^[0-9.]+ ?/ ?[0-9.]+$"}

Name: TypeAlias = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
]
DataName: TypeAlias = Annotated[
    str,
    AfterValidator(_data_name),
    WithJsonSchema({"type": "string", "pattern": f"^{NAME}$|\\.yaml$"}),
]
"""Name of a data set, or path of its file."""
Line: TypeAlias = Annotated[str, AfterValidator(_line)]
Question: TypeAlias = Annotated[
    str, AfterValidator(_question), WithJsonSchema({"type": "string", "pattern": "\\?$"})
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
MOST_SIDE = 4096
"""Largest side of a picture, in pixels."""
Side: TypeAlias = Annotated[int, Field(ge=1, le=MOST_SIDE)]


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
