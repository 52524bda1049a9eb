"""Ensembles of a matrix: several attacks, of which an example has to withstand each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from harness.config.field_types import NonEmptySet, ThreatModel
from harness.config.file_model import Problem, Strict, with_short_form
from harness.config.matrix_entries import SHRUNK, STRONGEST, Entries, Entry, Goal
from harness.config.strict_yaml import nearest, quote
from harness.config.threat import CONTROLS, THREATS


class Ensemble(Strict):
    """Several attacks as one. Short form: a list of labels, which is `{members: […]}`."""

    members: NonEmptySet[str] | None = Field(
        default=None,
        description="Labels of attacks of the matrix. The ensemble is derived from their records; "
        "no stage runs for it. Default: none.",
    )
    hand_over: Entries | None = Field(
        default=None,
        description="Attacks in order, each a module name or an entry, which need not be among "
        "`attacks`. The first gets all examples, each other one those that still stand: right "
        "before the attack, and not broken by an earlier one. The ensemble is an attack like "
        "those of `attacks`. Queries are counted on from attack to attack, and a repeated entry "
        "draws the same numbers. An attack that cannot play is left out, and the page says so. For "
        "classifiers under threat models that change test inputs, with a goal other than "
        "`least_likely`. Default: none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, data: object) -> object:
        return {"members": data} if isinstance(data, list | tuple) else data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core)
        labels = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        with_short_form(handler.resolve_ref_schema(schema), labels)
        return schema

    def problems(self) -> Iterator[Problem]:
        """Check that there is one list of attacks."""
        if (self.members is None) == (self.hand_over is None):
            what = "both members and hand_over" if self.members else "no attacks"
            yield Problem((), what, "write a list of labels, or {hand_over: [NAME, …]}")


def ensemble_problems(
    ensembles: Mapping[str, Ensemble], attacks: Collection[Entry], threat: ThreatModel, goal: Goal
) -> Iterator[Problem]:
    """Check a matrix's ensembles against its attacks, threat model and goal."""
    labels = [attack.label for attack in attacks]
    for i, label in enumerate(labels):
        if label in (STRONGEST, SHRUNK):
            what = f"{quote(label)} is the label of inputs that defences borrow"
            yield Problem(("attacks", i), what, "choose another with as:")
    for name, ensemble in ensembles.items():
        at = ("ensembles", name)
        if name in labels:
            yield Problem(at, f"{quote(name)} is an attack's label already", "rename the ensemble")
        elif name in (STRONGEST, SHRUNK, *CONTROLS["attack"]):
            what = f"{quote(name)} is the name of something else in tables"
            yield Problem(at, what, "rename the ensemble")
        for i, member in enumerate(ensemble.members or ()):
            if member not in labels:
                what = f"no attack of this matrix is labelled {quote(member)}"
                yield Problem((*at, i), what, nearest(member, labels))
        if ensemble.hand_over is not None:
            for loc, what, fix in _hand_over_problems(ensemble.hand_over, threat, goal):
                yield Problem((*at, "hand_over", *loc), what, fix)


def _hand_over_problems(
    entries: Collection[Entry], threat: ThreatModel, goal: Goal
) -> Iterator[Problem]:
    """Check that attacks can be handed examples at all; key paths are below ``hand_over``."""
    if THREATS[threat].at_test != "perturb" or THREATS[threat].poisons:
        what = f"{threat} does not attack test inputs one by one"
        yield Problem((), what, "write a list of labels of attacks")
    if goal.targeted == "least_likely":
        what = "a goal that each network draws itself, which others cannot be handed"
        yield Problem((), what, "write another goal, or a list of labels of attacks")
    for i, entry in enumerate(entries):
        if entry.adversary is not None:
            what = "only a defence trains against an adversary"
            yield Problem((i, "adversary"), what, "remove it")
