"""Data sets of a matrix: which one plays a role, and how many of its training examples are used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, TypeAlias, TypeVar, cast

from pydantic import Discriminator, Field, PlainValidator, Tag, WithJsonSchema

from harness.config.budget import number_text
from harness.config.explain import ONE, SEVERAL
from harness.config.field_types import Count, DataName, Fraction, NonEmptySet
from harness.config.file_model import Problem, field_error
from harness.config.matrix_entries import Shorthand
from harness.config.strict_yaml import quote

T = TypeVar("T")

LEVEL = "@"
"""Stands in a matrix's name between the written one and its amount of training data."""


def family_of(name: str) -> str:
    """Return the name of a matrix as it is written: that of a level without its amount.

    >>> family_of("digits@500"), family_of("digits")
    ('digits', 'digits')
    """
    return name.partition(LEVEL)[0]


def _part(found: object) -> str:
    text = getattr(found, "text", found)  # YAML's fractions are numbers
    match = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", text) if isinstance(text, str) else None
    if match is None or not int(match[1]) <= int(match[2]) >= 2:
        what = f"expected a part of at least 2, found {quote(found)}"
        raise field_error(what, "write 1/2 for the first of two parts")
    return match[0]


Part: TypeAlias = Annotated[
    str,
    PlainValidator(_part),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]?/[1-9][0-9]?$"}),
]
"""Number of a part and count of parts, such as ``1/2``."""

# the form decides which type is meant, so that a mistake gets the line of one type alone
Levels: TypeAlias = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[NonEmptySet[T], Tag(SEVERAL)],
    Discriminator(lambda found: SEVERAL if isinstance(found, list | tuple) else ONE),
]
"""A value, or several: a matrix is planned for each."""


class DataEntry(Shorthand):
    """Data set in a role. Short form: its name."""

    name: DataName = Field(
        description="Name of the data set (`gauntlet data` lists them), or the path of its file, "
        "seen from this one: `./my-data.yaml`."
    )
    train_fraction: Levels[Fraction] = Field(
        default=1.0,
        description="Share of the training set that is used, above 0 and up to 1. Of the student's "
        "data it may be a list, `[0.01, 0.1, 1]`: a matrix `NAME@SHARE` is planned for each, and a "
        "figure joins them. Smaller shares are a part of larger ones, and the validation set stays "
        "whole. Default: 1.",
    )
    train_examples: Levels[Count] | None = Field(
        default=None,
        description="Number of training examples that are used, in place of a share. Of the "
        "student's data it may be a list, `[500, 1000, 5000]`: a matrix `NAME@NUMBER` is planned "
        "for each, as for shares. The examples are those of the share that leaves as many. "
        "Default: all examples.",
    )
    shots: Count | None = Field(
        default=None,
        description="Training examples of each class that are used, in place of a share: the first "
        "by the hash of their ids, so that fewer shots are a part of more. For classification. "
        "Default: all examples.",
    )

    part: Part | None = Field(
        default=None,
        description="`1/2`: the first of two disjoint parts of the training set, `2/2` the second; "
        "likewise for more. Each class is cut alike, by the hash of its groups, such as the tracks "
        "of a video, so that two roles can share a data set and no group. `train_fraction` and "
        "`shots` count within the part. For classification. Default: the whole set.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that the training set is cut once."""
        whole = {"train_fraction": 1.0, "train_examples": None, "shots": None}
        first, *others = [key for key in whole if getattr(self, key) != whole[key]] or [""]
        for key in others:
            what = f"{key} beside {first}: both choose training examples"
            yield Problem((key,), what, "keep one of them")
        if self.train_examples is not None and self.part is not None:
            what = "train_examples beside part: how many a part holds is known once it is cut"
            yield Problem(("train_examples",), what, "write train_fraction or shots")

    @property
    def listed(self) -> str | None:
        """The key that has a list of amounts, or ``None``."""
        lists = (k for k in ("train_fraction", "train_examples") if type(getattr(self, k)) is tuple)
        return next(lists, None)

    @property
    def levels(self) -> tuple[DataEntry, ...]:
        """Entries of one amount each, in the list's order; without a list, this one."""
        if self.listed is None:
            return (self,)
        amounts = getattr(self, self.listed)
        return tuple(self.model_copy(update={self.listed: amount}) for amount in amounts)

    @property
    def fraction(self) -> float:
        """Share of the training set of an entry without a list; 1 where another key chooses."""
        return float(cast(float, self.train_fraction))

    @property
    def examples(self) -> int | None:
        """Number of training examples of an entry without a list, where they are counted."""
        return cast("int | None", self.train_examples)

    @property
    def slug(self) -> str:
        """Amount of an entry without a list, as a part of names: ``500``, ``0.01``, ``1of90``."""
        if self.examples is not None:
            return str(self.examples)
        return number_text(cast(float, self.train_fraction)).replace("/", "of")

    @property
    def amount(self) -> str:
        """The chosen part of the training set in words; empty for all of it."""
        chosen = [f"part {self.part}"] if self.part else []
        if self.shots is not None:
            chosen.append(f"{self.shots:,} of each class")
        elif self.examples is not None:
            chosen.append(f"{self.examples:,} example{'s' * (self.examples > 1)}")
        elif self.fraction != 1:
            chosen.append(f"{number_text(cast(float, self.train_fraction))} of all")
        return ", ".join(chosen)

    def count(self, train: int, classes: int) -> int:
        """Return the number of training examples that are used; of an entry without a list.

        Args:
            train: training examples of the data set.
            classes: its classes.
        """
        if self.shots is not None:
            return self.shots * classes
        return self.examples or round(self.fraction * train / part_of(self.part)[1])


def part_of(text: str | None) -> tuple[int, int]:
    """Return number and count of a part such as ``1/2``; of the whole set 1 and 1."""
    number, count = (text or "1/1").split("/")
    return int(number), int(count)
