"""Form of the committed digests of data sets."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.config.dataset import Sha256
from harness.config.field_types import Task

STRICT = ConfigDict(strict=True, extra="forbid")
Natural = Annotated[int, Field(ge=0, le=10**9)]


class Counts(BaseModel):
    """Numbers of examples by split."""

    model_config = STRICT

    train: Natural
    val: Natural
    test: Natural


class SpecFields(BaseModel):
    """Fields of a spec that plans read."""

    model_config = STRICT

    task: Task
    outputs: Natural
    shape: list[Natural]
    items: Natural | None
    arity: Natural | None
    void: Natural | None
    classes: list[str]
    stored: list[Natural] | None = None


class Digest(BaseModel):
    """Form of a committed digest.

    Attributes:
        reading: digest of the description and its readers.
        sha256: digest of the stored arrays.
        counts: numbers of examples.
        spec: description of inputs and labels.
        note: what is to be said beside results.
        shared: what two splits have in common.
    """

    model_config = STRICT

    reading: Sha256
    sha256: Sha256
    counts: Counts
    spec: SpecFields
    note: str = ""
    shared: str = ""


def digest_mistakes(found: object) -> list[str]:
    """Return what is wrong with the content of a digest's file, with the place of each."""
    try:
        Digest.model_validate(found)
    except ValidationError as error:
        places = ((".".join(map(str, one["loc"])), one["msg"]) for one in error.errors())
        return [f"{place}: {said}" if place else said for place, said in places]
    return []
