"""Parts of a module manifest: publication, smoke run, parameters, requirements."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from harness.config.budget import BudgetEntry
from harness.config.field_types import (
    AnyValue,
    Inputs,
    Line,
    List,
    Need,
    NonEmptySet,
    Set,
    Side,
    Task,
    ThreatModel,
    Value,
    Values,
)
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import Loc, nearest, quote

TYPES: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
    "file": (str, "the path of a file or a folder"),
}
LIMITED = ("eps", "epsilon", "poison_fraction", "queries", "target", "seed")
"""Names that no parameter of an attack has: the threat model limits what they stand for."""
NO_FILE = ""
"""Value of a parameter of the type ``file`` where there is none."""


def _entry_point(text: str) -> str:
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*\.py:[A-Za-z_]\w*", text, re.ASCII):
        what = f"expected file.py:Class inside the module's folder, found {quote(text)}"
        raise field_error(what, "write for example attack.py:PGD")
    return text


EntryPoint: TypeAlias = Annotated[str, AfterValidator(_entry_point)]


class Reference(Strict):
    """Publication of the idea."""

    title: str = Field(description="Title of the publication.")
    url: str = Field(description="Address of the publication, best a DOI or arXiv page.")
    year: Annotated[int, Field(ge=1900, le=2100)] = Field(description="Year of publication.")


class Expect(Strict):
    """Range in which a metric of the smoke run must lie; one end may be left out."""

    min: float | None = Field(
        default=None, description="Smallest value that passes. Default: no limit."
    )
    max: float | None = Field(
        default=None, description="Largest value that passes. Default: no limit."
    )

    def problems(self) -> Iterator[Problem]:
        """Check that there is an end, and that both are in order."""
        if self.min is None and self.max is None:
            yield Problem((), "neither min nor max", "give one")
        elif self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("min",), f"min {self.min:g} is above max {self.max:g}", "swap them")


class Smoke(Strict):
    """Small run on bundled data with a known outcome; part of `gauntlet check FOLDER`.

    The control (the attack that changes nothing, the defence `none`) must miss the expectation.
    """

    params: Values = Field(
        default_factory=dict,
        description="Parameters of the run whose outcome is expected. Default: those of the "
        "module or the variant.",
    )
    variant: str | None = Field(
        default=None,
        description="Variant whose outcome is expected. Default: the module without a variant. "
        "Other variants run as well, without an expectation.",
    )
    quick: Values = Field(
        default_factory=dict,
        description="Parameters that make the runs of all variants short, for example "
        "`{steps: 5}`. Default: none.",
    )
    expect: dict[str, Expect] = Field(
        default_factory=dict,
        description="Metric → range, for example `{attack_success_rate: {min: 0.3}}`. Default: "
        "none, with which `gauntlet check FOLDER` fails.",
    )
    task: Task | None = Field(
        default=None,
        description="Task of the run whose outcome is expected. Default: every task of the module.",
    )
    threat_model: ThreatModel | None = Field(
        default=None,
        description="Threat model of the run whose outcome is expected. Default: every threat "
        "model of the module.",
    )
    budget: BudgetEntry | None = Field(
        default=None,
        description="Budget of the run. Default: one for each threat model, for example "
        "`{norm: linf, eps: 32/255}` in `evasion`.",
    )


class Param(Strict):
    """Keyword argument of a module's constructor."""

    type: Literal["int", "float", "bool", "str", "file"] = Field(
        description="Type of the value. A `float` may be written as a fraction: `1/4`. A `file` is "
        "the path of a file or a folder, seen from the file that names it: a benchmark names one "
        "of its own (`./book.npy`; one in `benchmarks/` only inside its folder), and this manifest "
        "one of the module's folder. The constructor gets a `pathlib.Path` whose last name means "
        'nothing, as only the content counts, or `None` where the value is `""`. At most '
        "1 GiB, 10,000 files and no link; what is not there makes cells `missing`."
    )
    default: object = Field(
        description="Value when neither the variant nor the benchmark gives one."
    )
    min: float | None = Field(
        default=None, description="Smallest value that is allowed. Default: no limit."
    )
    max: float | None = Field(
        default=None, description="Largest value that is allowed. Default: no limit."
    )
    choices: List[object] = Field(
        default=(), description="Values that are allowed. Default: all of the type."
    )
    help: str = Field(
        default="",
        description="Its meaning, with its unit; error messages show it. Default: none.",
    )

    def read(self, value: object) -> Value:
        """Return a value as the constructor gets it.

        Raises:
            ValueError: not of this type, out of range, or not among the choices.
        """
        kind, type_name = TYPES[self.type]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"expected {type_name}{self._range()}, found {quote(value)}")
        if self.type == "file":
            return posixpath.normpath(str(value)) if value else NO_FILE  # one spelling of a path
        if isinstance(value, float):
            value = float(value)  # a Ratio's text is for people, not for keys
            if not math.isfinite(value):
                raise ValueError("expected a finite number")
        if isinstance(value, int | float) and not self._fits(value):
            raise ValueError(f"expected {type_name}{self._range()}, found {quote(value)}")
        if self.choices and value not in self.choices:
            known = ", ".join(map(quote, self.choices))
            raise ValueError(f"expected one of {known}, found {quote(value)}")
        assert isinstance(value, bool | int | float | str)
        return value

    def problems(self) -> Iterator[Problem]:
        """Check the range, and that choices and default lie in it."""
        if self.type == "file" and (given := self.model_fields_set & {"min", "max", "choices"}):
            yield Problem((min(given),), "means nothing for type: file", "remove it")
            return
        if (self.min, self.max) != (None, None) and self.type not in ("int", "float"):
            yield Problem(("type",), f"a range for {self.type}", "use choices")
            return
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("min",), f"min {self.min:g} is above max {self.max:g}", "swap them")
            return
        bare = self.model_copy(update={"choices": ()})
        for i, choice in enumerate(self.choices):
            yield from value_problems(bare, choice, ("choices", i))
        yield from value_problems(self, self.default, ("default",))

    def _fits(self, value: float) -> bool:
        above = self.min is None or value >= self.min
        return above and (self.max is None or value <= self.max)

    def _range(self) -> str:
        low = "" if self.min is None else f" from {self.min:g}"
        return low + ("" if self.max is None else f" up to {self.max:g}")


def limited_problem(loc: Loc) -> Problem:
    """Return what is wrong with a parameter that has a name of ``LIMITED``."""
    what = f"{loc[-1]} is limited by the threat model, so it belongs to the benchmark"
    return Problem(loc, what, "remove it and read budget, goal or ctx.seed() in the hook")


def value_problems(param: Param, value: object, loc: Loc) -> Iterator[Problem]:
    """Yield what is wrong with a parameter's value at a key path."""
    try:
        param.read(value)
    except ValueError as error:
        near = nearest(str(value), map(str, param.choices)) if param.choices else ""
        fix = f"it means: {param.help}" if param.help else "change it"
        yield Problem(loc, str(error), near if near.endswith("?") else fix)


def rule_problems(param: Param, value: object, loc: Loc) -> Iterator[Problem]:
    """Yield what is wrong with a value that a rule compares a parameter with, at a key path."""
    yield from value_problems(param, value, loc)
    if param.type == "file" and value != NO_FILE:
        what = f"a file counts by its content, and a rule names it {quote(value)}"
        yield Problem(loc, what, 'write "", which is no file')


Choices: TypeAlias = dict[str, NonEmptySet[AnyValue]]
"""Parameter → values of it."""


def matches(when: Choices, params: Mapping[str, object]) -> bool:
    """Return whether every parameter has one of its values.

    >>> matches({"form": ("s", "m")}, {"form": "m", "steps": 5}), matches({}, {"form": "l"})
    (True, True)
    """
    return all(params[name] in values for name, values in when.items())


class Remark(Strict):
    """Sentence that stands on the pages of some of a module's cells."""

    when: Choices = Field(
        default_factory=dict,
        description="Parameter → values for which it is said. Default: always.",
    )
    classes_max: Annotated[int, Field(ge=1)] = Field(
        description="Largest number of classes of the data for which it is said."
    )
    text: Line = Field(description="The sentence, which pages end with a full stop.")


InputLimit: TypeAlias = Literal[
    "linf", "l2", "per_channel", "patch", "pixels", "unbounded", "minimal_linf", "minimal_l2"
]
"""Limit on inputs that an attack keeps."""


def _most_classes(found: object) -> object:
    if isinstance(found, str) or (type(found) is int and found >= 1):
        return found
    what = f"expected a number of classes or the name of a parameter, found {quote(found)}"
    raise field_error(what, "write for example 100")


MostClasses: TypeAlias = Annotated[
    int | str,
    PlainValidator(_most_classes),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}),
]


class Requirement(Strict):
    """Condition that a cell must meet; `plan` says of the others that they are `not_applicable`.

    A requirement with several keys means all of them. What is left out is not required.
    """

    when: Choices = Field(
        default_factory=dict,
        description="Parameter → values for which this is required, for example "
        "`{form: [original, hinge]}`. Variants count by their parameters. Default: always.",
    )
    tasks: Set[Task] = Field(default=(), description="The matrix has one of these tasks.")
    inputs: Set[Inputs] = Field(
        default=(),
        description="The data have one of these kinds of inputs: `images`, `features` (vectors) or "
        "`items` (ranking by item number).",
    )
    limits: Set[InputLimit] = Field(
        default=(),
        description="Limits on inputs that the attack keeps, all of them together: norms (`linf`, "
        "`l2`), `per_channel` (a radius for each channel, beside `linf`), `patch`, `pixels`, or "
        "`unbounded`. `minimal_linf` and `minimal_l2`: it looks for the nearest wrong input in "
        "that norm; under a radius such an attack is judged by the inputs that lie within. A "
        "budget that sets another one rules the attack out. An attack must give them if it "
        "changes test inputs or delivers a network. For attacks.",
    )
    goals: Set[Literal["untargeted", "targeted"]] = Field(
        default=(),
        description="The matrix has one of these goals. For attacks. An attack that cannot "
        "aim at a target class names `untargeted` alone; any other that `perturb`s inputs must "
        "reach targets more often with a goal than without one in `gauntlet check`.",
    )
    answers: Set[Literal["scores", "labels"]] = Field(
        default=(), description="The oracle gives one of these answers. For attacks."
    )
    edits: Set[Literal["labels", "features"]] = Field(
        default=(), description="The budget allows edits of all of these. For attacks."
    )
    targets: Set[Literal["class", "next"]] = Field(
        default=(),
        description="Targets of a backdoor that the attack can plant: one `class` for all inputs, "
        "or `next`, the class after each input's own. Left out means `class`. For attacks.",
    )
    knowledge: Literal[True] | None = Field(
        default=None,
        description="`true`: the matrix grants a network (`knowledge: clean-victim` or a "
        "surrogate). For attacks.",
    )
    adversary: Literal[True] | None = Field(
        default=None, description="`true`: the entry names an `adversary`. For defences."
    )
    offers: Set[Need] = Field(
        default=(), description="The victim offers all of these, for example `maps`. For defences."
    )
    channels: Set[Annotated[int, Field(ge=1, le=99)]] = Field(
        default=(), description="The pictures have one of these numbers of channels. For victims."
    )
    side: Set[Side] = Field(
        default=(),
        description="Height and width of the pictures are each one of these, in pixels. "
        "`gauntlet check` makes pictures of the smallest that fits all requirements, and tries "
        "the largest once. For victims.",
    )
    side_min: Side | None = Field(
        default=None,
        description="Height and width of the pictures are at least this, in pixels. For victims.",
    )
    side_multiple: Side | None = Field(
        default=None,
        description="Height and width of the pictures are divisible by this. For victims.",
    )
    classes: Set[Annotated[int, Field(ge=1, le=99_999)]] = Field(
        default=(),
        description="The data have one of these numbers of classes (in ranking, of outputs): for a "
        "network whose last layer is fixed. For victims.",
    )

    classes_max: MostClasses | None = Field(
        default=None,
        description="The data have at most this many classes (in ranking, outputs), or at most as "
        "many as the parameter of this name says, for example `dim`. For defences.",
    )

    def most_classes(self, params: Mapping[str, Value]) -> int | None:
        """Return the largest number of classes with a module's parameters, or ``None``.

        >>> Requirement(classes_max="dim").most_classes({"dim": 5})
        5
        """
        most = self.classes_max
        return int(params[most]) if isinstance(most, str) else most

    @property
    def takes_pictures(self) -> bool:
        """Whether there is a demand on the form of pictures."""
        return bool(self.channels or self.side or self.side_min or self.side_multiple)

    def takes_side(self, side: int) -> bool:
        """Return whether a picture may have this height or width, in pixels.

        >>> one = Requirement(side_min=16, side_multiple=8)
        >>> [side for side in range(40) if one.takes_side(side)], one.side_rule
        ([16, 24, 32], 'of at least 16 and divisible by 8')
        """
        listed = not self.side or side in self.side
        return listed and side >= (self.side_min or 1) and side % (self.side_multiple or 1) == 0

    @property
    def side_rule(self) -> str:
        """Sides that are taken, in words."""
        parts = (
            f"of {' or '.join(map(str, self.side))}" if self.side else "",
            f"of at least {self.side_min}" if self.side_min else "",
            f"divisible by {self.side_multiple}" if self.side_multiple else "",
        )
        return " and ".join(part for part in parts if part)


KINDS_OF_REQUIREMENT = {
    "attack": ("tasks", "inputs", "limits", "goals", "answers", "edits", "targets", "knowledge"),
    "defense": ("tasks", "inputs", "adversary", "offers", "classes_max"),
    "victim": ("tasks", "inputs", "channels", "side", "side_min", "side_multiple", "classes"),
}
"""Kind of module → what it may require. A defence must not choose the attacks that it meets."""
