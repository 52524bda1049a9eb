"""Entries of a matrix: modules, goals and knowledge, with their short forms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from harness.config.budget import BudgetEntry
from harness.config.field_types import Name, NonEmpty, Values
from harness.config.file_model import Problem, Strict, field_error, with_short_form
from harness.config.strict_yaml import quote
from harness.config.threat import CONTROLS

STRONGEST, SHRUNK = "strongest", "shrunk"
"""Labels of batches that defences meet: of each example the strongest of a defence's attacks; the
same with every change shrunk, so that no value lies exactly at the radius. No attack has them."""
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
            with_short_form(body, {"type": "string"})
        return schema


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


def _check_labels(found: tuple[Entry, ...]) -> tuple[Entry, ...]:
    labels = [entry.label for entry in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        what = f"duplicate entry {quote(twice[0])}"
        raise field_error(what, "remove one, or tell them apart by as:")
    return found


Entries: TypeAlias = Annotated[NonEmpty[Entry], AfterValidator(_check_labels)]


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
