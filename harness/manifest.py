"""Module manifests: what a folder says about itself, checked once and then trusted."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field

from harness.budget import BudgetEntry
from harness.errors import UserError, UserErrors
from harness.strict_yaml import Document, Loc, key, load, nearest, quoted
from harness.validation import (
    THREAT_MODELS,
    Limits,
    List,
    Name,
    NonEmptySet,
    Problem,
    Set,
    Strict,
    Task,
    ThreatModel,
    Value,
    Values,
    gathered,
    name_problems,
    problem,
    validated,
)

Kind: TypeAlias = Literal["attack", "defense", "victim"]
Need: TypeAlias = Literal["loss", "features", "maps", "gradients"]

# The names in runtime.contracts.HOOKS, again because that module imports torch; a test compares.
HOOK_NAMES: dict[Kind, tuple[str, ...]] = {
    "attack": ("learn", "perturb", "poison", "trigger", "deliver"),
    "defense": ("build", "sanitize", "fit", "loss", "repair", "guard"),
    "victim": ("build", "loss", "fit", "import_weights"),
}
REQUIRED_HOOKS: dict[Kind, tuple[str, ...]] = {
    "attack": (),
    "defense": (),
    "victim": ("build", "fit"),
}
KINDS_OF_FIELD: dict[str, tuple[Kind, ...]] = {
    "needs": ("attack", "defense"),
    "offers": ("victim",),
    "batch_dependent": ("attack", "defense"),
    "no_model_access": ("attack",),
    "gradients": ("defense",),
    "against": ("attack",),
    "weights": ("victim",),
}
LIMITED = ("eps", "epsilon", "poison_fraction", "queries", "target", "seed")
TYPES: dict[str, tuple[type, str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "str": (str, "text"),
}


def _entry_point(text: str) -> str:
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*\.py:[A-Za-z_]\w*", text, re.ASCII):
        what = f"expected file.py:Class inside the module's folder, found {quoted(text)}"
        raise problem(what, "write for example attack.py:PGD")
    return text


class Reference(Strict):
    """Where the idea was published."""

    title: str
    url: str
    year: Annotated[int, Field(ge=1900, le=2100)]


class Expect(Strict):
    """The range in which a smoke run's metric must lie."""

    min: float | None = None
    max: float | None = None

    def problems(self) -> Iterator[Problem]:
        """At least one end, and in order."""
        if self.min is None and self.max is None:
            yield Problem((), "neither min nor max", "give one")
        elif self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("min",), f"min {self.min:g} is above max {self.max:g}", "swap them")


class Smoke(Strict):
    """A small run with a known outcome, which the identity attack must not reach.

    Attributes:
        params, variant: what runs; other variants run as well, without an expectation.
        quick: parameters that make every run short, those of the variants too.
    """

    params: Values = Field(default_factory=dict)
    variant: str | None = None
    quick: Values = Field(default_factory=dict)
    expect: dict[str, Expect] = Field(default_factory=dict)
    task: Task | None = None
    threat_model: ThreatModel | None = None
    budget: BudgetEntry | None = None


class Param(Strict):
    """One keyword argument of a module's constructor."""

    type: Literal["int", "float", "bool", "str"]
    default: object
    min: float | None = None
    max: float | None = None
    choices: List[object] = ()
    help: str = ""

    def read(self, value: object) -> Value:
        """The value as the constructor gets it.

        Raises:
            ValueError: not of this type, out of range, or not among the choices.
        """
        kind, words = TYPES[self.type]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"expected {words}{self._range()}, found {quoted(value)}")
        if isinstance(value, float):
            value = float(value)  # a Ratio's text is for people, not for keys
            if not math.isfinite(value):
                raise ValueError("expected a finite number")
        if isinstance(value, int | float) and not self._fits(value):
            raise ValueError(f"expected {words}{self._range()}, found {quoted(value)}")
        if self.choices and value not in self.choices:
            known = ", ".join(map(quoted, self.choices))
            raise ValueError(f"expected one of {known}, found {quoted(value)}")
        assert isinstance(value, bool | int | float | str)
        return value

    def problems(self) -> Iterator[Problem]:
        """The range makes sense, and choices and default lie in it."""
        if (self.min, self.max) != (None, None) and self.type not in ("int", "float"):
            yield Problem(("type",), f"a range for {self.type}", "use choices")
            return
        if self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("min",), f"min {self.min:g} is above max {self.max:g}", "swap them")
            return
        bare = self.model_copy(update={"choices": ()})
        for i, choice in enumerate(self.choices):
            yield from _reading(bare, choice, ("choices", i))
        yield from _reading(self, self.default, ("default",))

    def _fits(self, value: float) -> bool:
        above = self.min is None or value >= self.min
        return above and (self.max is None or value <= self.max)

    def _range(self) -> str:
        low = "" if self.min is None else f" from {self.min:g}"
        return low + ("" if self.max is None else f" up to {self.max:g}")


def _reading(param: Param, value: object, loc: Loc) -> Iterator[Problem]:
    try:
        param.read(value)
    except ValueError as error:
        near = nearest(str(value), map(str, param.choices)) if param.choices else ""
        fix = f"it means: {param.help}" if param.help else "change it"
        yield Problem(loc, str(error), near if near.endswith("?") else fix)


class Weights(Strict):
    """A file of existing weights, which the victim's ``import_weights`` reads.

    Attributes:
        file: its name. sha256: of its bytes. license, source: whose it is, and its address.
        variant: of the victim, that the weights belong to.
        start: training starts from them, with a new head, where else they take its place.
    """

    file: Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    license: str
    source: str
    variant: Name | None = None
    start: bool = False


class Manifest(Strict):
    """One module, as its ``manifest.yaml`` describes it."""

    schema_: Literal["manifest/1"] = Field(alias="schema")
    kind: Kind
    name: Name
    summary: str
    reference: Reference | None = None
    license: str
    tasks: NonEmptySet[Task]
    threat_models: Set[ThreatModel] = ()
    needs: Set[Need] = ()
    offers: Set[Need] = ()
    entry: Annotated[str, AfterValidator(_entry_point)]
    hooks: Set[str]
    params: dict[str, Param] = Field(default_factory=dict)
    variants: dict[Name, Values] = Field(default_factory=dict)
    weights: dict[Name, Weights] = Field(default_factory=dict)
    limits: Limits | None = None
    smoke: Smoke | None = None
    random: bool = False
    batch_dependent: bool = False
    no_model_access: bool = False
    gradients: Literal["exact", "approximate"] = "exact"
    against: Set[Name] = ()

    @property
    def ref(self) -> str:
        """``attacks/pgd``: unique, as names alone are only within a kind."""
        return f"{self.kind}s/{self.name}"

    @property
    def file(self) -> str:
        """The entry's file, relative to the folder."""
        return self.entry.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The entry's class."""
        return self.entry.partition(":")[2]

    def plays(self, threat_model: str) -> bool:
        """Whether the module is meant for a threat model; victims that name none play all."""
        return threat_model in (self.threat_models or THREAT_MODELS)

    def resolve(
        self, variant: str | None = None, params: Mapping[str, object] | None = None
    ) -> dict[str, Value]:
        """The constructor's whole arguments: defaults, then the variant's, then the given ones.

        Raises:
            UserErrors: an unknown variant or parameter, a wrong type, a value out of range.
        """
        params = params or {}
        if found := list(self.param_problems(variant, params)):
            raise UserErrors(
                UserError(": ".join((self.ref, key(p.loc))), p.what, p.fix) for p in found
            )
        chosen = {**self.variants.get(variant or "", {}), **params}
        return {n: p.read(chosen.get(n, p.default)) for n, p in self.params.items()}

    def param_problems(
        self, variant: str | None, params: Mapping[str, object]
    ) -> Iterator[Problem]:
        """What is wrong with a choice, at ``variant`` and ``params.NAME``."""
        if variant is not None and variant not in self.variants:
            what = f"{self.ref} has no variant {quoted(variant)}"
            yield Problem(("variant",), what, nearest(variant, self.variants))
        for name, value in params.items():
            loc = ("params", name)
            if name in self.params:
                yield from _reading(self.params[name], value, loc)
            elif self.kind == "attack" and name in LIMITED:
                yield _limited(loc)
            else:
                what = f"{self.ref} has no parameter {quoted(name)}"
                yield Problem(loc, what, nearest(name, self.params))

    def problems(self) -> Iterator[Problem]:
        """Fields of other kinds, hooks, parameter names, variants and the smoke run."""
        for name, kinds in KINDS_OF_FIELD.items():
            if name in self.model_fields_set and self.kind not in kinds:
                what = f"means nothing for kind: {self.kind}"
                yield Problem((name,), what, f"remove it; it is for {' and '.join(kinds)}")
        if self.kind != "victim" and not self.threat_models:
            fix = f"add threat_models: [{', '.join(THREAT_MODELS)}] or some of them"
            yield Problem(("threat_models",), "missing", fix)
        yield from self._hook_problems()
        yield from self._weights_problems()
        for name in self.params:
            if self.kind == "attack" and name in LIMITED:
                yield _limited(("params", name))
            elif not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
                what = f"{quoted(name)} cannot be a keyword argument"
                yield Problem(("params", name), what, "use a Python name")
        for variant, params in self.variants.items():
            for loc, what, fix in self.param_problems(None, params):
                yield Problem(("variants", variant, *loc[1:]), what, fix)
        if self.smoke is not None:
            yield from self._smoke_problems(self.smoke)

    def _hook_problems(self) -> Iterator[Problem]:
        known = HOOK_NAMES[self.kind]
        for i, hook in enumerate(self.hooks):
            if hook not in known:
                what = f"kind: {self.kind} has no hook {quoted(hook)}"
                yield Problem(("hooks", i), what, nearest(hook, known))
        for hook in REQUIRED_HOOKS[self.kind]:
            if hook not in self.hooks:
                yield Problem(("hooks",), f"a {self.kind} needs {hook}", "implement and add it")
        if self.kind == "attack" and not self.hooks:
            yield Problem(("hooks",), "an attack without a hook", nearest("", known, "add one of"))

    def _weights_problems(self) -> Iterator[Problem]:
        if self.weights and "import_weights" not in self.hooks:
            what = "weights that nothing reads"
            yield Problem(("weights",), what, "implement import_weights and add it to hooks")
        for name, weights in self.weights.items():
            for loc, what, fix in self.param_problems(weights.variant, {}):
                yield Problem(("weights", name, *loc), what, fix)

    def _smoke_problems(self, smoke: Smoke) -> Iterator[Problem]:
        for loc, what, fix in self.param_problems(smoke.variant, smoke.params):
            yield Problem(("smoke", *loc), what, fix)
        for loc, what, fix in self.param_problems(None, smoke.quick):
            yield Problem(("smoke", "quick", *loc[1:]), what, fix)
        if smoke.task is not None and smoke.task not in self.tasks:
            what = f"{smoke.task} is not among the module's tasks"
            yield Problem(("smoke", "task"), what, f"choose of {', '.join(self.tasks)}")
        threats = self.threat_models or THREAT_MODELS
        if smoke.threat_model is not None and smoke.threat_model not in threats:
            what = f"{smoke.threat_model} is not among the module's threat models"
            yield Problem(("smoke", "threat_model"), what, f"choose of {', '.join(threats)}")


def _limited(loc: Loc) -> Problem:
    what = f"{loc[-1]} is limited by the threat model, so it belongs to the benchmark"
    return Problem(loc, what, "remove it and read budget, goal or ctx.seed() in the hook")


def load_manifest(path: Path) -> Manifest:
    """Read a ``manifest.yaml``, given itself or by its folder.

    Raises:
        UserErrors: everything wrong with it.
    """
    file = path / "manifest.yaml" if path.is_dir() else path
    return validated(Manifest, load(file), "manifest", _folder_problems)


def check_manifests(paths: Iterable[Path]) -> tuple[list[Manifest], list[UserError]]:
    """Read many: the good manifests, and every error of the others."""
    return gathered(load_manifest, paths)


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of ``manifest.yaml`` for editors, short forms included."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _folder_problems(document: Document) -> Iterator[Problem]:
    """The folder's name, the folder it lies in, and the entry's file."""
    folder = document.path.resolve().parent
    yield from name_problems(document, folder.name)
    data = document.data
    assert isinstance(data, dict)
    kind, entry = data.get("kind"), data.get("entry")
    expected = folder.parent.name.removesuffix("s")
    if kind in HOOK_NAMES and expected in HOOK_NAMES and kind != expected:
        what = f"expected {expected} in {folder.parent.name}/, found {kind}"
        yield Problem(("kind",), what, f"move the folder to {kind}s/")
    file = str(entry).partition(":")[0]
    if isinstance(entry, str) and ".." not in entry and file.endswith(".py"):
        target = (folder / file).resolve()
        if not target.is_file():
            yield Problem(("entry",), f"there is no {quoted(file)} in the folder", "write it")
        elif not target.is_relative_to(folder):
            yield Problem(("entry",), f"{quoted(file)} leads out of the folder", "copy it here")
