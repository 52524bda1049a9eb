"""Base of the files' models: frozen, strict, and aware of the file that it was read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from harness.config.strict_yaml import Document, Loc, key


class Problem(NamedTuple):
    """Mistake in a file.

    Attributes:
        loc: key path.
        what: what is wrong.
        fix: what to do.
    """

    loc: Loc
    what: str
    fix: str


def field_error(what: str, fix: str) -> PydanticCustomError:
    """Return a mistake in the form that a field's own validator raises."""
    return PydanticCustomError("problem", "{what}", {"what": what, "fix": fix})


def with_short_form(body: dict[str, Any], short: dict[str, Any]) -> None:
    """Make a JSON Schema of a model, in place, one of either that or its short form."""
    whole = dict(body)
    body.clear()
    body["anyOf"] = [short, whole]


class Strict(BaseModel):
    """Frozen model without coercions or unknown keys, which knows the file it was read from."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", serialize_by_alias=True)

    _document: Document | None = PrivateAttr(default=None)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between keys, once each is right by itself."""
        yield from ()

    def where(self, loc: Loc = ()) -> str:
        """Return ``path:line:column: key`` of a key path, for errors that are found later.

        Without a file it is the model's name and the key.
        """
        if self._document is not None:
            return self._document.where(loc)
        return ": ".join(filter(None, (str(getattr(self, "name", "")), key(loc))))

    @model_validator(mode="after")
    def _refuse_problems(self) -> Self:
        found = [
            InitErrorDetails(type=field_error(what, fix), loc=loc, input=None)
            for loc, what, fix in self.problems()
        ]
        if found:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self
