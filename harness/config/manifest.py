"""Model of ``manifest.yaml``: the description of a module, checked once and then trusted."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from harness.common.errors import UserError, UserErrors
from harness.config.budget import limits_inputs
from harness.config.field_types import (
    THREAT_MODELS,
    Limits,
    List,
    Name,
    Need,
    NonEmptySet,
    Set,
    Task,
    ThreatModel,
    Value,
    Values,
)
from harness.config.file_model import Problem, Strict
from harness.config.hook_names import HOOK_NAMES, REQUIRED_HOOKS, Kind
from harness.config.manifest_parts import (
    KINDS_OF_REQUIREMENT,
    LIMITED,
    Choices,
    EntryPoint,
    Param,
    Reference,
    Remark,
    Requirement,
    Smoke,
    limited_problem,
    matches,
    rule_problems,
    value_problems,
)
from harness.config.manifest_smoothing import smoothing_problems
from harness.config.manifest_weights import Weights
from harness.config.strict_yaml import Loc, key, nearest, quote

KINDS_OF_FIELD: dict[str, tuple[Kind, ...]] = {
    "needs": ("attack", "defense"),
    "offers": ("victim",),
    "batch_dependent": ("attack", "defense"),
    "no_model_access": ("attack",),
    "gradients": ("defense",),
    "smoothing": ("defense",),
    "against": ("attack",),
    "learn_when": ("attack",),
    "clean_form": ("attack",),
    "scale_invariant_when": ("attack",),
    "weights": ("victim",),
}


class Manifest(Strict):
    """Module: an attack, a defence or a victim, as its `manifest.yaml` describes it."""

    schema_: Literal["manifest/1"] = Field(
        alias="schema", description="Form of this file and its version; always `manifest/1`."
    )
    kind: Kind = Field(
        description="Kind of module. The folder lies in `attacks/`, `defenses/` or `victims/`."
    )
    name: Name = Field(
        description="Name of the module, equal to its folder's: up to 41 of a-z, 0-9, _ and -."
    )
    summary: str = Field(
        description="One sentence on what the module does; shown by `gauntlet list` and on pages."
    )
    reference: Reference | None = Field(
        default=None, description="Publication of the idea. Default: none."
    )
    license: str = Field(description="License of the module's code, for example `MIT`.")
    tasks: NonEmptySet[Task] = Field(description="Tasks that the module is written for.")
    threat_models: Set[ThreatModel] = Field(
        default=(),
        description="Threat models that the module is written for. Attacks and defences must name "
        "some. Default, for a victim: all.",
    )
    needs: Set[Need] = Field(
        default=(),
        description="What the module asks of the network beyond its outputs: `loss` "
        "(`model.loss`), `features` (input of the last layer), `maps` (feature maps of the "
        "stages), `gradients` (`model.module`, the guarded network as a module), `weights` "
        "(`model.undefended`, the network without a defence, with its parameters). The rest is "
        "refused. For attacks and defences. Default: nothing.",
    )
    offers: Set[Need] = Field(
        default=(),
        description="What the victim grants of the same five: an attack that needs more does not "
        "apply to it. For victims. Default: nothing.",
    )
    entry: EntryPoint = Field(
        description="File inside the folder and the class in it, for example `attack.py:PGD`."
    )
    hooks: Set[str] = Field(
        description="Hooks that the class implements, all of them and no others "
        "(`docs/reference/hooks.md`). A victim has at least `build` and `recipe`."
    )
    params: dict[str, Param] = Field(
        default_factory=dict,
        description="Keyword arguments of the constructor, by name. What the threat model limits "
        "(`eps`, `queries`, `target`, `seed`, …) is never one of them. Default: none.",
    )
    variants: dict[Name, Values] = Field(
        default_factory=dict,
        description="Named presets of parameters: `{pgd-100: {steps: 100}}`. A benchmark writes "
        "`pgd/pgd-100`. Default: none.",
    )
    weights: dict[Name, Weights] = Field(
        default_factory=dict,
        description="Existing weights, by the name that a benchmark gives under `weights`. Their "
        "tensors are named as in the network, or renamed by the hook `import_weights`. For "
        "victims. Default: none.",
    )
    limits: Limits | None = Field(
        default=None,
        description="Time and memory that a stage of the module needs. The benchmark's `ceiling` "
        "wins. Default: the ceiling.",
    )
    smoke: Smoke | None = Field(
        default=None,
        description="Small run with a known outcome, which `gauntlet check FOLDER` asks for. "
        "Default: none.",
    )
    random: bool = Field(
        default=False,
        description="`true`: the module draws random numbers. A defence or victim that says so "
        "may answer the same input differently, which otherwise raises a flag: a white-box attack "
        "sees the mean over draws with its gradient, and the worst of several predictions counts "
        "(a benchmark's `random`). Default: `false`.",
    )
    batch_dependent: bool = Field(
        default=False,
        description="`true`: the result for one example depends on the other examples of its "
        "batch, which `gauntlet check` otherwise refuses. For attacks and defences. Default: "
        "`false`.",
    )
    no_model_access: bool = Field(
        default=False,
        description="`true`: at test time the attack gets neither the model nor labels (`perturb` "
        "is called with `None` for both); `learn` still gets the model. For attacks. Default: "
        "`false`.",
    )
    gradients: Literal["exact", "approximate"] = Field(
        default="exact",
        description="`approximate`: the gradient through the defence is replaced by an "
        "approximation or is zero; tables mark its white-box figures. For defences. Default: "
        "`exact`.",
    )
    smoothing: Name | None = Field(
        default=None,
        description="Parameter with the standard deviation, in pixels of [0, 1], of the noise "
        "under which the harness lets the network vote and certifies radii (`docs/certificates.md`)"
        ". For defences. Default: no noise.",
    )
    requires: List[Requirement] = Field(
        default=(),
        description="Conditions that a cell must meet, for example `[{limits: [linf]}]`. `plan` "
        "says at once which cells do not. Default: none beyond tasks, threat models and hooks.",
    )
    learn_when: Choices = Field(
        default_factory=dict,
        description="Parameter → values with which the hook `learn` does something, for example "
        "`{balanced: [true]}`. With others no stage `learn` is planned. For attacks. Default: "
        "always.",
    )
    clean_form: Values = Field(
        default_factory=dict,
        description="Parameters with which the attack delivers a network that it trained in the "
        "same way, but without a backdoor, for example `{poison_share: 0}`. In `supply-chain` a "
        "second control starts from that network: it shows what the attacker's training does on "
        "clean data. For attacks with the hook `deliver`. Default: none; the only control starts "
        "from the public network.",
    )
    scale_invariant_when: Choices | None = Field(
        default=None,
        description="Parameter → values with which the attack finds the same inputs when all "
        "logits of the network are multiplied by one positive number, for example `{objective: "
        "[dlr]}`; `{}` is always. A white-box matrix of classification without such a gradient "
        "attack is *thin*: cross entropy loses its gradient where logits are large. For attacks. "
        "Default: never.",
    )
    remarks: List[Remark] = Field(
        default=(),
        description="Sentences for the pages of cells whose data have few classes. Default: none.",
    )
    against: Set[Name] = Field(
        default=(),
        description="Defences (names or labels) that an adaptive attack is written against; it "
        "is planned for no others. For attacks. Default: all.",
    )

    @property
    def ref(self) -> str:
        """``attacks/pgd``: unique, as names alone are only within a kind."""
        return f"{self.kind}s/{self.name}"

    @property
    def file(self) -> str:
        """File of the entry, relative to the folder."""
        return self.entry.partition(":")[0]

    @property
    def class_name(self) -> str:
        """Class of the entry."""
        return self.entry.partition(":")[2]

    def uses(self, hook: str, params: Mapping[str, object]) -> bool:
        """Return whether the module has a hook that does something with these parameters."""
        return hook in self.hooks and (hook != "learn" or matches(self.learn_when, params))

    def plays(self, threat_model: str) -> bool:
        """Return whether the module is meant for a threat model; if it names none, for all."""
        return threat_model in (self.threat_models or THREAT_MODELS)

    def resolve(
        self, variant: str | None = None, params: Mapping[str, object] | None = None
    ) -> dict[str, Value]:
        """Return all arguments of the constructor: ``params`` over the variant over defaults.

        Raises:
            UserErrors: an unknown variant or parameter, a wrong type, a value out of range.
        """
        params = params or {}
        if found := list(self.param_problems(variant, params)):
            raise UserErrors(
                UserError(": ".join((self.ref, key(p.loc))), p.what, p.fix) for p in found
            )
        values = {**self.variants.get(variant or "", {}), **params}
        return {n: p.read(values.get(n, p.default)) for n, p in self.params.items()}

    def param_problems(
        self, variant: str | None, params: Mapping[str, object]
    ) -> Iterator[Problem]:
        """Yield what is wrong with a choice, at ``variant`` and ``params.NAME``."""
        if variant is not None and variant not in self.variants:
            what = f"{self.ref} has no variant {quote(variant)}"
            yield Problem(("variant",), what, nearest(variant, self.variants))
        for name, value in params.items():
            loc = ("params", name)
            if name in self.params:
                yield from value_problems(self.params[name], value, loc)
            elif self.kind == "attack" and name in LIMITED:
                yield limited_problem(loc)
            else:
                what = f"{self.ref} has no parameter {quote(name)}"
                yield Problem(loc, what, nearest(name, self.params))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the parameters that are files or folders."""
        return tuple(name for name, one in self.params.items() if one.type == "file")

    @property
    def presets(self) -> dict[Loc, Values]:
        """Values that this manifest gives its parameters beside their defaults, by key path."""
        smoke = self.smoke or Smoke()
        return {
            **{("variants", name): values for name, values in self.variants.items()},
            ("clean_form",): self.clean_form,
            ("smoke", "params"): smoke.params,
            ("smoke", "quick"): smoke.quick,
        }

    def problems(self) -> Iterator[Problem]:
        """Check fields of other kinds, hooks, parameters, variants and the smoke run."""
        for name, kinds in KINDS_OF_FIELD.items():
            if name in self.model_fields_set and self.kind not in kinds:
                what = f"means nothing for kind: {self.kind}"
                yield Problem((name,), what, f"remove it; it is for {' and '.join(kinds)}")
        if self.kind != "victim" and not self.threat_models:
            fix = f"add threat_models: [{', '.join(THREAT_MODELS)}] or some of them"
            yield Problem(("threat_models",), "missing", fix)
        yield from self._hook_problems()
        yield from smoothing_problems(
            self.smoothing, self.params, self.tasks, self.threat_models, random=self.random
        )
        yield from self._weights_problems()
        for name in self.params:
            if self.kind == "attack" and name in LIMITED:
                yield limited_problem(("params", name))
            elif not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
                what = f"{quote(name)} cannot be a keyword argument"
                yield Problem(("params", name), what, "use a Python name")
        for variant, params in self.variants.items():
            for loc, what, fix in self.param_problems(None, params):
                yield Problem(("variants", variant, *loc[1:]), what, fix)
        if self.smoke is not None:
            yield from self._smoke_problems(self.smoke)
        yield from self._requirement_problems()

    def _hook_problems(self) -> Iterator[Problem]:
        known = HOOK_NAMES[self.kind]
        for i, hook in enumerate(self.hooks):
            if hook not in known:
                what = f"kind: {self.kind} has no hook {quote(hook)}"
                yield Problem(("hooks", i), what, nearest(hook, known))
        for hook in REQUIRED_HOOKS[self.kind]:
            if hook not in self.hooks:
                yield Problem(("hooks",), f"a {self.kind} needs {hook}", "implement and add it")
        if self.kind == "attack" and not self.hooks:
            yield Problem(("hooks",), "an attack without a hook", nearest("", known, "add one of"))

    def _weights_problems(self) -> Iterator[Problem]:
        for name, weights in self.weights.items():
            for loc, what, fix in self.param_problems(weights.variant, {}):
                yield Problem(("weights", name, *loc), what, fix)

    def _requirement_problems(self) -> Iterator[Problem]:
        known = KINDS_OF_REQUIREMENT[self.kind]
        for i, one in enumerate(self.requires):
            for name in sorted(one.model_fields_set - {"when", *known}):
                what = f"means nothing for kind: {self.kind}"
                yield Problem(("requires", i, name), what, f"it may require {', '.join(known)}")
            if not one.model_fields_set - {"when"}:
                yield Problem(("requires", i), "requires nothing", f"add {' or '.join(known)}")
            yield from self._choice_problems(one.when, ("requires", i, "when"))
            if isinstance(one.classes_max, str) and one.classes_max not in self._numbers:
                what = f"{self.ref} has no parameter {quote(one.classes_max)} of the type int"
                fix = nearest(one.classes_max, self._numbers)
                yield Problem(("requires", i, "classes_max"), what, fix)
        for i, remark in enumerate(self.remarks):
            yield from self._choice_problems(remark.when, ("remarks", i, "when"))
        yield from self._limits_problems()
        yield from self._choice_problems(self.learn_when, ("learn_when",))
        yield from self._choice_problems(self.scale_invariant_when or {}, ("scale_invariant_when",))
        for name, hook in (("learn_when", "learn"), ("clean_form", "deliver")):
            if getattr(self, name) and hook not in self.hooks:
                yield Problem((name,), f"there is no hook {hook}", "remove it")
        for loc, what, fix in self.param_problems(None, self.clean_form):
            yield Problem(("clean_form", *loc[1:]), what, fix)

    @property
    def _numbers(self) -> list[str]:
        return [name for name, param in self.params.items() if param.type == "int"]

    def _limits_problems(self) -> Iterator[Problem]:
        """Check that an attack names the limits that it keeps, where every budget sets some."""
        bounded = [name for name in self.threat_models if limits_inputs(name)]
        if self.kind != "attack" or not bounded or any(one.limits for one in self.requires):
            return
        what = f"no limits, and every budget of {bounded[0]} sets one"
        yield Problem(("requires",), what, "add those that the attack keeps: [{limits: [linf]}]")

    def _choice_problems(self, when: Choices, at: Loc) -> Iterator[Problem]:
        for name, values in when.items():
            if name not in self.params:
                what = f"{self.ref} has no parameter {quote(name)}"
                yield Problem((*at, name), what, nearest(name, self.params))
                continue
            for i, value in enumerate(values):
                yield from rule_problems(self.params[name], value, (*at, name, i))

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


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``manifest.yaml`` for editors, with short forms."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
