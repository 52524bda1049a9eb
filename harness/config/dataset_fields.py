"""Types of fields that the layouts of data sets share: splits, templates of paths, columns.

A *template* is a path below the source with fields in braces: ``{split}/{class}/{name}.png``. A
field stands for one folder or a part of a name. ``split``, ``class`` and ``name`` have a meaning;
others may be used in ``group`` and ``pictures``, and ``{}`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from harness.config.field_types import List
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import quote

Part: TypeAlias = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")

MOST_FIELDS = 3
"""Most fields of one name: a long name could be split among more of them in millions of ways."""

_FIELD = re.compile(r"\{([A-Za-z_]*)\}")
PICTURE_FIELD = re.compile(r"\{([A-Za-z][A-Za-z_0-9]*)(?::0([1-9]))?\}")
"""Field of a picture's place: its name, and the digits of a number."""

BOX, SIZE = {"x1", "y1", "x2", "y2"}, {"width", "height"}
"""Columns of a box, and of the picture that it counts in."""


def template_fields(template: str) -> list[str]:
    """Return the names of a template's fields; ``""`` stands for ``{}``.

    >>> template_fields("{split}/{class}/{}.png")
    ['split', 'class', '']
    """
    return _FIELD.findall(template)


def _template(text: str) -> str:
    _path_below(text)
    for name in text.split("/"):
        if "}{" in name or len(template_fields(name)) > MOST_FIELDS:
            what = f"expected at most {MOST_FIELDS} fields in a name, apart, found {quote(name)}"
            raise field_error(what, "write one {} for what does not matter")
    return text


def _path_below(text: str) -> str:
    rest = _FIELD.sub("", text)
    if text.startswith("/") or ".." in text.split("/") or re.search(r"[{}\\]", rest):
        what = f"expected a path below the source with fields in braces, found {quote(text)}"
        raise field_error(what, "write for example {split}/{class}/{name}.png")
    return text


def picture_fields(template: str) -> list[str]:
    """Return the names of the fields of a picture's place.

    >>> picture_fields("jpg/image_{id:05}.jpg")
    ['id']
    """
    return [name for name, _ in PICTURE_FIELD.findall(template)]


def _templates(found: object) -> tuple[str, ...]:
    return tuple(_template(text) for text in _some_texts(found))


def _picture_paths(found: object) -> tuple[str, ...]:
    texts = _some_texts(found)
    for text in texts:
        _path_below(PICTURE_FIELD.sub(r"{\1}", text))
    return texts


def _group(text: str) -> str:
    if re.search(r"[{}]", _FIELD.sub("", text)) or not any(template_fields(text)):
        raise field_error(
            f"expected fields in braces, found {quote(text)}", "write {class}/{track}"
        )
    return text


def _some_texts(found: object) -> tuple[str, ...]:
    texts = _texts(found)
    if not texts:
        raise field_error("expected a path below the source, found []", "add one")
    return texts


def _texts(found: object) -> tuple[str, ...]:
    listed = found if isinstance(found, list | tuple) else [found]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise field_error(f"expected texts, found {quote(found)}", "write a text or a list of them")
    return tuple(str(one) for one in listed)


def _number(found: object) -> object:
    return int(found) if isinstance(found, str) and re.fullmatch(r"-?[0-9]{1,9}", found) else found


def _column(found: object) -> str | int:
    if isinstance(found, str) or (type(found) is int and found >= 1):
        return found
    what = f"expected a heading or the number of a column, found {quote(found)}"
    raise field_error(what, "count columns from 1")


def _void(found: object) -> tuple[int, ...] | None:
    if found == "others" or found is None:
        return None
    if isinstance(found, list | tuple) and all(
        type(one) is int and 0 <= one < 256 for one in found
    ):
        return tuple(found)
    what = f"expected values of 0 to 255 or others, found {quote(found)}"
    raise field_error(what, "write for example [11]")


MOST_MAP_CLASSES = 254
"""Most classes of class maps: 255 is for pixels without one, 254 may be an output for void."""

_TEXT_OR_NUMBER = {"type": ["string", "integer"]}
Template: TypeAlias = Annotated[str, AfterValidator(_template)]
Group: TypeAlias = Annotated[str, AfterValidator(_group)]
"""Text with fields, which become the name of a group."""
Texts: TypeAlias = Annotated[
    tuple[str, ...],
    PlainValidator(_texts),
    WithJsonSchema({"anyOf": [_TEXT_OR_NUMBER, {"type": "array", "items": _TEXT_OR_NUMBER}]}),
]
NumberKey: TypeAlias = Annotated[int, BeforeValidator(_number)]
"""Whole number as a key, which the YAML reader returns as text."""
Byte: TypeAlias = Annotated[NumberKey, Field(ge=0, le=255)]
_TEXTS = WithJsonSchema(
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
)
Templates: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_templates), _TEXTS]
PicturePaths: TypeAlias = Annotated[tuple[str, ...], PlainValidator(_picture_paths), _TEXTS]
Column: TypeAlias = Annotated[str | int, PlainValidator(_column), WithJsonSchema(_TEXT_OR_NUMBER)]
Void: TypeAlias = Annotated[
    tuple[int, ...] | None,
    PlainValidator(_void),
    WithJsonSchema(
        {"anyOf": [{"const": "others"}, {"type": "array", "items": {"type": "integer"}}]}
    ),
]
"""Values without a class; ``None``: all that have no name."""


class Layout(Strict):
    """Part that all layouts share."""

    below: List[str] = Field(
        default=(),
        description="Folders that may lie around everything in the source, such as "
        "`[CUB_200_2011]`: copies differ. Default: none.",
    )
    parts: dict[Part, Texts] = Field(
        default_factory=dict,
        description="Split → what the source calls it, in `{split}` or a column `split`, for "
        "example `{train: [Training], test: [Test, Extra]}`. Default: `train`, `val` and `test`.",
    )
    ignore: List[Template] = Field(
        default=(),
        description="Templates of pictures that belong to the set and are no examples. Of others "
        "that the layout does not name, a note gives the number. Default: none.",
    )

    def part_names(self) -> Mapping[Part, tuple[str, ...]]:
        """Return what the source calls each split."""
        return self.parts or {part: (part,) for part in PARTS}

    def split_of(self, text: str) -> Part | None:
        """Return the split that the source calls so, in any case; ``None`` if it names none."""
        for part, texts in self.part_names().items():
            if text.lower() in (known.lower() for known in texts):
                return part
        return None


def only_own_splits(layout: Layout) -> Iterator[Problem]:
    """Refuse keys that say what a source calls its splits, where the lists are given by split."""
    for key in ("parts", "ignore"):
        if getattr(layout, key):
            yield Problem((key,), "means nothing in this layout", "remove it")


PAIR, TRIPLET = {"u", "v"}, {"a", "p", "q"}
"""Columns of the items of a comparison."""
