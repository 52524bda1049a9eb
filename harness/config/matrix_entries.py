"""Entries of a matrix: modules, data sets, goals and knowledge, with their short forms."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from harness.config.budget import BudgetEntry
from harness.config.field_types import Count, DataName, Fraction, Name, Values
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import quote
from harness.config.threat import CONTROLS

ITSELF = "itself"
"""Label of the defence itself where inputs were made against it: no entry has this label."""


class Shorthand(Strict):
    """A model that a bare word stands for: ``pgd``, or ``pgd/pgd-100`` with a variant."""

    word: ClassVar[str] = "name"  # the key that a bare word is the value of

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: object) -> object:
        word = cls.word
        if isinstance(data, str):
            data = {word: data}
        if not isinstance(data, dict) or not isinstance(data.get(word), str):
            return data
        name, slash, variant = data[word].partition("/")
        if not slash or "variant" not in cls.model_fields:
            return data
        if "variant" in data:
            what = f"a variant in {quote(data[word])} and another in variant"
            raise field_error(what, "keep one of them")
        return {**data, word: name, "variant": variant}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core)
        body = handler.resolve_ref_schema(schema)
        named = body["properties"][cls.word]
        body["properties"][cls.word] = {"type": "string", "description": named["description"]}
        if body["required"] == [cls.word]:
            whole = dict(body)
            body.clear()
            body["anyOf"] = [{"type": "string"}, whole]
        return schema


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


class DataEntry(Shorthand):
    """Data set in a role. Short form: its name."""

    name: DataName = Field(
        description="Name of the data set (`gauntlet data` lists them), or the path of its file, "
        "seen from this one: `./my-data.yaml`."
    )
    train_fraction: Fraction = Field(
        default=1.0,
        description="Share of the training set that is used, above 0 and up to 1. Default: 1.",
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
        if self.shots is not None and self.train_fraction != 1:
            what = "shots beside train_fraction: both choose training examples"
            yield Problem(("shots",), what, "keep one of them")

    @property
    def amount(self) -> str:
        """The chosen part of the training set in words; empty for all of it."""
        chosen = [f"part {self.part}"] if self.part else []
        if self.shots is not None:
            chosen.append(f"{self.shots:,} of each class")
        elif self.train_fraction != 1:
            chosen.append(f"{self.train_fraction:.4g} of all")
        return ", ".join(chosen)

    def count(self, train: int, classes: int) -> int:
        """Return the number of training examples that are used.

        Args:
            train: training examples of the data set.
            classes: its classes.
        """
        if self.shots is not None:
            return self.shots * classes
        return round(self.train_fraction * train / part_of(self.part)[1])


def part_of(text: str | None) -> tuple[int, int]:
    """Return number and count of a part such as ``1/2``; of the whole set 1 and 1."""
    number, count = (text or "1/1").split("/")
    return int(number), int(count)


class Adversary(Shorthand):
    """Attack that a defence trains against."""

    word: ClassVar[str] = "attack"

    attack: Name = Field(
        description="Name of the attack, or `NAME/VARIANT`. It needs the hook `perturb`."
    )
    variant: Name | None = Field(default=None, description="Variant of the attack. Default: none.")
    params: Values = Field(
        default_factory=dict,
        description="Parameters of the attack that differ from the module's or the variant's. "
        "Default: none.",
    )
    budget: BudgetEntry = Field(
        description="Budget of the attack during training, with the keys of `evasion`. It need "
        "not be one of the matrix's `budgets`."
    )

    def problems(self) -> Iterator[Problem]:
        """Check the budget by the rules of white-box evasion, which training uses."""
        for loc, what, fix in self.budget.problems_under("evasion"):
            yield Problem(("budget", *loc), what, fix)


class Entry(Shorthand):
    """Module in a matrix. Short form: `NAME` or `NAME/VARIANT`."""

    name: Name = Field(description="Name of the module, or `NAME/VARIANT`.")
    params: Values = Field(
        default_factory=dict,
        description="Parameters that differ from the module's or the variant's, for example "
        "`{steps: 40}`. The value of a `file` is a path, seen from this file: "
        "`{codebook: ./my-book.npy}`; in `benchmarks/` it stays inside the benchmark's folder. "
        "Only the content counts, and cells whose file is not there are `missing`. Default: none.",
    )
    variant: Name | None = Field(
        default=None, description="Variant of the module, one of its manifest's. Default: none."
    )
    weights: Name | None = Field(
        default=None,
        description="Existing weights, one of the victim's manifest's, which take the place of "
        "training. In `defenses` they are weights of the matrix's victims: a row of its own, whose "
        "network nothing here trains (`{name: none, weights: NAME}` is a released network as it "
        "is). Not for attacks. Default: the network is trained.",
    )
    as_: Name | None = Field(
        default=None,
        alias="as",
        description="Label on pages and in `--only`. Default: `NAME`, `NAME/VARIANT`, "
        "`NAME/WEIGHTS`, or `WEIGHTS` with `none`. Two entries of a list need "
        "different labels; `itself` is taken.",
    )
    adversary: Adversary | None = Field(
        default=None,
        description="Attack that the defence trains against. For defences. Default: none.",
    )

    @property
    def label(self) -> str:
        """The row's name: ``as``, else the name with its variant or its weights.

        A released network without a defence is no control, and its label does not say ``none``.
        """
        if self.weights is not None and self.name in CONTROLS["defense"]:
            return self.as_ or self.weights
        which = self.variant or self.weights
        return self.as_ or (f"{self.name}/{which}" if which else self.name)

    def problems(self) -> Iterator[Problem]:
        """Check that the label is free."""
        if self.label == ITSELF:
            what = f"{quote(ITSELF)} is the label of a defence's own inputs"
            yield Problem(("as" if self.as_ else "name",), what, "choose another with as:")


@dataclass(frozen=True)
class Goal:
    """Goal of an evasion attack: any error (``None``), or a class given by a rule or a number."""

    targeted: Literal["random", "next", "least_likely"] | int | None = None

    @property
    def label(self) -> str:
        """``untargeted``, ``targeted: next``, ``targeted: 3``."""
        return "untargeted" if self.targeted is None else f"targeted: {self.targeted}"


@dataclass(frozen=True)
class Knowledge:
    """Knowledge of a training-time or transfer attacker beyond the data."""

    kind: Literal["none", "clean-victim", "surrogate"] = "none"
    surrogate: Entry | None = None

    @property
    def label(self) -> str:
        """``none``, ``clean-victim``, ``surrogate: LABEL``."""
        return self.kind if self.surrogate is None else f"surrogate: {self.surrogate.label}"


def _goal(found: object) -> Goal:
    if isinstance(found, Goal):
        return found
    if found == "untargeted":
        return Goal()
    if isinstance(found, dict) and list(found) == ["targeted"]:
        rule = found["targeted"]
        if rule in ("random", "next", "least_likely"):
            return Goal(rule)
        if isinstance(rule, int) and not isinstance(rule, bool) and rule >= 0:
            return Goal(rule)
    fix = "write untargeted or {targeted: random}, next, least_likely or a class number"
    raise field_error(f"expected a goal, found {quote(found)}", fix)


def _knowledge(found: object) -> Knowledge:
    if isinstance(found, Knowledge):
        return found
    if found in ("none", None):
        return Knowledge()
    if found == "clean-victim":
        return Knowledge("clean-victim")
    if isinstance(found, dict) and list(found) == ["surrogate"]:
        with contextlib.suppress(ValidationError):
            return Knowledge("surrogate", Entry.model_validate(found["surrogate"]))
    fix = "write none, clean-victim or {surrogate: NAME}"
    raise field_error(f"expected what the attacker knows, found {quote(found)}", fix)


def _object(name: str, value: dict[str, object], description: str) -> dict[str, object]:
    fixed: dict[str, object] = {"required": [name], "additionalProperties": False}
    described = {name: value | {"description": description}}
    return {"type": "object", "properties": described, **fixed}


_RULES: dict[str, object] = {
    "anyOf": [{"enum": ["random", "next", "least_likely"]}, {"type": "integer"}]
}
_TARGETED = (
    "Target class of each example: `random` (another class, drawn by the example's id), `next` "
    "(label + 1), `least_likely` (the model's own last choice), or one class number for all."
)
_SURROGATE = (
    "Network that the attacker trains in place of the victim: an entry like those of `victims`."
)
GoalField: TypeAlias = Annotated[
    Goal,
    PlainValidator(_goal),
    WithJsonSchema({"anyOf": [{"const": "untargeted"}, _object("targeted", _RULES, _TARGETED)]}),
]
KnowledgeField: TypeAlias = Annotated[
    Knowledge,
    PlainValidator(_knowledge),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", "clean-victim"]},
                _object("surrogate", {"type": ["string", "object"]}, _SURROGATE),
            ]
        }
    ),
]
