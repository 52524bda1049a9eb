"""Benchmarks: fixed matrices of victims, defences and attacks, as ``benchmark.yaml`` says them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
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

from harness.budget import BUDGET_FIELDS, BudgetEntry
from harness.errors import UserError
from harness.strict_yaml import Document, load, nearest, quoted
from harness.validation import (
    Count,
    Fraction,
    Limits,
    Name,
    NonEmpty,
    NonEmptySet,
    Problem,
    Strict,
    Task,
    ThreatModel,
    Values,
    gathered,
    name_problems,
    problem,
    validated,
)


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
            what = f"a variant in {quoted(data[word])} and another in variant"
            raise problem(what, "keep one of them")
        return {**data, word: name, "variant": variant}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(core)
        body = handler.resolve_ref_schema(schema)
        body["properties"][cls.word] = {"type": "string"}
        if body["required"] == [cls.word]:
            whole = dict(body)
            body.clear()
            body["anyOf"] = [{"type": "string"}, whole]
        return schema


class DataEntry(Shorthand):
    """A data set in a role."""

    name: Name
    train_fraction: Fraction = 1.0


class Adversary(Shorthand):
    """The attack that a defence trains against."""

    word: ClassVar[str] = "attack"

    attack: Name
    variant: Name | None = None
    params: Values = Field(default_factory=dict)
    budget: BudgetEntry

    def problems(self) -> Iterator[Problem]:
        """Training attacks the network at hand, so the budget is white-box evasion's."""
        for loc, what, fix in self.budget.problems_under("evasion"):
            yield Problem(("budget", *loc), what, fix)


class Entry(Shorthand):
    """A module in a matrix: one row or column.

    Attributes:
        variant, params: how it is constructed. weights: existing weights to import.
        as_: the label, key ``as``. adversary: in defences, what they train against.
    """

    name: Name
    params: Values = Field(default_factory=dict)
    variant: Name | None = None
    weights: Name | None = None
    as_: Name | None = Field(default=None, alias="as")
    adversary: Adversary | None = None

    @property
    def label(self) -> str:
        """The row's name: ``as``, else the name with its variant or its weights."""
        which = self.variant or self.weights
        return self.as_ or (f"{self.name}/{which}" if which else self.name)


@dataclass(frozen=True)
class Goal:
    """What an evasion attack wants: any error (``None``), or a class chosen by a rule or number."""

    targeted: Literal["random", "next", "least_likely"] | int | None = None

    @property
    def label(self) -> str:
        """``untargeted``, ``targeted: next``, ``targeted: 3``."""
        return "untargeted" if self.targeted is None else f"targeted: {self.targeted}"


@dataclass(frozen=True)
class Knowledge:
    """What a training-time or transfer attacker holds beside the data."""

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
    raise problem(f"expected a goal, found {quoted(found)}", fix)


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
    raise problem(f"expected what the attacker knows, found {quoted(found)}", fix)


def _object(name: str, value: dict[str, Any]) -> dict[str, Any]:
    fixed = {"required": [name], "additionalProperties": False}
    return {"type": "object", "properties": {name: value}, **fixed}


_RULES = {"anyOf": [{"enum": ["random", "next", "least_likely"]}, {"type": "integer"}]}
GoalField: TypeAlias = Annotated[
    Goal,
    PlainValidator(_goal),
    WithJsonSchema({"anyOf": [{"const": "untargeted"}, _object("targeted", _RULES)]}),
]
KnowledgeField: TypeAlias = Annotated[
    Knowledge,
    PlainValidator(_knowledge),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["none", "clean-victim"]},
                _object("surrogate", {"type": ["string", "object"]}),
            ]
        }
    ),
]


class EvalSubset(Strict):
    """The examples that a cell is judged on: the first by hash, in batches."""

    examples: Count
    batch: Count


class Keep(Strict):
    """What is kept for pictures."""

    examples: Annotated[int, Field(ge=0)] = 8
    attention: bool = False


def _entries(found: tuple[Entry, ...]) -> tuple[Entry, ...]:
    labels = [entry.label for entry in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise problem(f"{quoted(twice[0])} stands twice", "remove one, or tell them apart by as:")
    return found


Entries: TypeAlias = Annotated[NonEmpty[Entry], AfterValidator(_entries)]


class Matrix(Strict):
    """Victims × defences × attacks × budgets × seeds under one threat model on one task."""

    name: Name
    threat_model: ThreatModel
    task: Task | None = None
    data: dict[Literal["public", "attacker", "student"], DataEntry]
    victims: Entries
    defenses: Entries
    attacks: Entries
    budgets: NonEmpty[BudgetEntry]
    goal: GoalField = Field(default_factory=Goal)
    knowledge: KnowledgeField = Field(default_factory=Knowledge)
    poisons: Literal["train", "public"] = "train"
    ensembles: dict[Name, NonEmptySet[str]] = Field(default_factory=dict)
    eval_subset: EvalSubset
    clean: Count | None = None
    seeds: NonEmptySet[Annotated[int, Field(ge=0)]] = (0,)
    keep: Keep = Keep()

    def problems(self) -> Iterator[Problem]:
        """Budgets, goal, roles and ensembles against the threat model and each other."""
        yield from self._budget_problems()
        yield from self._role_problems()
        yield from self._ensemble_problems()
        if self.goal.targeted is not None and not BUDGET_FIELDS[self.threat_model].targeted:
            what = f"{self.threat_model} has no goal per example"
            yield Problem(("goal",), what, "remove it; a backdoor's target is in its budget")
        for name, entries in (("victims", self.victims), ("attacks", self.attacks)):
            for i, entry in enumerate(entries):
                if entry.adversary is not None:
                    what = "only a defence trains against an adversary"
                    yield Problem((name, i, "adversary"), what, "remove it")

    def _budget_problems(self) -> Iterator[Problem]:
        for i, budget in enumerate(self.budgets):
            for loc, what, fix in budget.problems_under(self.threat_model):
                yield Problem(("budgets", i, *loc), what, fix)
            if budget.to_json() in [earlier.to_json() for earlier in self.budgets[:i]]:
                yield Problem(("budgets", i), f"{budget.label} stands twice", "keep one")

    def _role_problems(self) -> Iterator[Problem]:
        if "student" not in self.data:
            yield Problem(("data",), "no student's data", "add student: NAME")
        if "public" in self.data:
            return
        if self.threat_model == "supply-chain" or self.poisons == "public":
            yield Problem(("data",), "a public network without public data", "add public: NAME")
        if self.threat_model == "evasion-transfer" and self.knowledge.surrogate is None:
            what = "a transfer attack with neither public network nor surrogate"
            fix = "add public: NAME to data, or knowledge: {surrogate: NAME}"
            yield Problem(("data",), what, fix)

    def _ensemble_problems(self) -> Iterator[Problem]:
        labels = [attack.label for attack in self.attacks]
        for name, members in self.ensembles.items():
            if name in labels:
                what = f"{quoted(name)} is an attack's label already"
                yield Problem(("ensembles", name), what, "rename the ensemble")
            for i, member in enumerate(members):
                if member not in labels:
                    what = f"no attack of this matrix is labelled {quoted(member)}"
                    yield Problem(("ensembles", name, i), what, nearest(member, labels))


class Benchmark(Strict):
    """A named list of matrices."""

    schema_: Literal["benchmark/1"] = Field(alias="schema")
    name: Name
    title: str | None = None
    summary: str | None = None
    ceiling: Limits
    matrices: NonEmpty[Matrix]

    def problems(self) -> Iterator[Problem]:
        """Names of matrices are unique."""
        names = [matrix.name for matrix in self.matrices]
        for i, name in enumerate(names):
            if name in names[:i]:
                yield Problem(("matrices", i, "name"), f"{quoted(name)} stands twice", "rename one")


def load_benchmark(path_or_name: str | Path, root: Path = Path()) -> Benchmark:
    """Read a benchmark by its name below ``root``, or by the path of its file or folder.

    Raises:
        UserErrors: everything wrong with it. UserError: there is none.
    """
    return _read(find_benchmark(path_or_name, root))


def check_benchmarks(paths: Iterable[Path]) -> tuple[list[Benchmark], list[UserError]]:
    """Read many files or folders: the good benchmarks, and every error of the others."""
    return gathered(lambda path: _read(path / "benchmark.yaml" if path.is_dir() else path), paths)


def benchmark_schema() -> dict[str, Any]:
    """The JSON Schema of ``benchmark.yaml`` for editors, short forms included."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | (
        Benchmark.model_json_schema()
    )


def _folder_problems(document: Document) -> Iterator[Problem]:
    folder = document.path.resolve().parent
    if folder.parent.name == "benchmarks":
        yield from name_problems(document, folder.name)


def find_benchmark(path_or_name: str | Path, root: Path = Path()) -> Path:
    """The file that a name or path means.

    Raises:
        UserError: there is none.
    """
    named = root / "benchmarks" / path_or_name / "benchmark.yaml"
    given = Path(path_or_name)
    for path in (named, given / "benchmark.yaml", given):
        if path.is_file():
            return path
    known = sorted(file.parent.name for file in root.glob("benchmarks/*/benchmark.yaml"))
    raise UserError(str(path_or_name), "no such benchmark", nearest(given.name, known))


def _read(path: Path) -> Benchmark:
    return validated(Benchmark, load(path), "benchmark", _folder_problems)
