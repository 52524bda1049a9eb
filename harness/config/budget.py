"""Budgets as benchmarks write them, and which fields each threat model has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from harness.config.field_types import Count, Fraction, Limit, NonEmpty, Positive, ThreatModel
from harness.config.file_model import Problem, Strict, field_error
from harness.config.strict_yaml import Ratio, quote


def _target(found: object) -> object:
    if found == "next" or (type(found) is int and found >= 0):
        return found
    if type(found) is int:
        raise field_error(f"expected at least 0, found {found}", "count classes from 0")
    what = f"expected the number of a class or next, found {quote(found)}"
    raise field_error(what, "count classes from 0")


Target: TypeAlias = Annotated[
    int | str,
    PlainValidator(_target),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "next"}]}),
]


class BudgetRule(NamedTuple):
    """Fields of a threat model's budget, and whether its attacks may have a goal.

    Attributes:
        allowed: fields that may be set.
        required: fields that must be set.
        one_of: fields of which one must be set, or nothing would be limited or allowed.
        targeted: whether a goal other than untargeted means something.
    """

    allowed: tuple[str, ...]
    required: tuple[str, ...]
    one_of: tuple[str, ...]
    targeted: bool


_NEAR = ("norm", "eps", "per_channel", "patch", "pixels", "unbounded")
_FOUND = (*_NEAR, "minimal")
_MARK = ("patch", "pixels", "norm", "eps")
_SEEN = ("norm", "patch", "pixels", "unbounded")
_MARKED = ("patch", "pixels", "norm")
_EDIT = ("edits", "labels", "features")
BUDGET_FIELDS: dict[ThreatModel, BudgetRule] = {
    "evasion": BudgetRule(_FOUND, (), _SEEN, True),
    "evasion-query": BudgetRule((*_FOUND, "queries", "answers"), ("queries",), _SEEN, True),
    "evasion-transfer": BudgetRule(_NEAR, (), _SEEN, True),
    "poisoning": BudgetRule((*_EDIT, *_MARK), ("edits",), ("labels", "features"), False),
    "backdoor": BudgetRule((*_EDIT, *_MARK, "target"), ("edits", "target"), _MARKED, False),
    "supply-chain": BudgetRule((*_MARK, "target"), ("target",), _MARKED, False),
}


NORMS = {"linf": "L∞", "l2": "L2"}
"""Norm of a perturbation → its name for people."""

LIMITS_ON_INPUTS = _SEEN
"""Fields that say how far inputs may change; an attack must keep each of them that is set."""


def limits_inputs(threat_model: ThreatModel) -> bool:
    """Return whether every budget of a threat model says how far inputs may change.

    >>> limits_inputs("evasion"), limits_inputs("poisoning")
    (True, False)
    """
    return not set(LIMITS_ON_INPUTS).isdisjoint(BUDGET_FIELDS[threat_model].one_of)


class BudgetEntry(Strict):
    """Limits of an attack: what may change, by how much, and how often it may ask.

    Which keys a budget has depends on the threat model (`docs/reference/threat_models.md`). A key
    that is left out limits nothing.
    """

    norm: Literal["linf", "l2"] | None = Field(
        default=None,
        description="Norm of the perturbation: `linf` (largest change of one value) or `l2` "
        "(Euclidean). Needs `eps`, or `minimal`.",
    )
    eps: Positive | None = Field(
        default=None,
        description="Largest norm of the perturbation, for pixels in [0, 1]. A fraction is kept "
        "as written: `8/255`. Needs `norm`.",
    )
    per_channel: NonEmpty[Positive] | None = Field(
        default=None,
        description="Unit of `eps` in each channel of a picture, for pixels in [0, 1]: channel c "
        "may change by eps · per_channel[c], for example by an eps in standard deviations of a "
        "channel with `[0.2023, 0.1994, 0.201]`. Needs `norm: linf`. Left out means 1 in every "
        "channel.",
    )
    patch: Count | None = Field(
        default=None,
        description="Side, in pixels, of the square that may change at will. In `evasion` it "
        "stands in place of a norm; in `backdoor` and `supply-chain` it limits the trigger.",
    )
    pixels: Count | None = Field(
        default=None,
        description="Number of pixels of a picture that may change at will, wherever they are; a "
        "pixel counts once for all its channels. It stands in place of a norm, as `patch` does, or "
        "beside one: `patch` limits the box around the changed pixels, and not their number.",
    )
    edits: Fraction | None = Field(
        default=None,
        description="Share of the training examples that may change, above 0 and up to 1. "
        "The number of examples is rounded: 0.1 of 1,437 is 144.",
    )
    labels: bool | None = Field(
        default=None,
        description="Whether an edit may change an example's label. Left out means no.",
    )
    features: bool | None = Field(
        default=None,
        description="Whether an edit may change an example's input. Left out means no.",
    )
    queries: Count | None = Field(
        default=None,
        description="Queries that the oracle answers for each example; it refuses more.",
    )
    answers: Literal["scores", "labels"] | None = Field(
        default=None,
        description="Form of an oracle's answer: `scores` (all outputs) or `labels` (the predicted "
        "class). Left out means `scores`.",
    )
    target: Target | None = Field(
        default=None,
        description="Target class of a backdoor, counted from 0: triggered inputs should be "
        "classified as it. `next`: each as the class that follows its own, and those of the last "
        "class as the first (all-to-all).",
    )
    unbounded: Literal[True] | None = Field(
        default=None,
        description="`true`: the perturbation has no limit but the range [0, 1]. Not allowed "
        "beside `norm`, `patch` or `pixels`. Such budgets are never ranked with others.",
    )

    minimal: Literal[True] | None = Field(
        default=None,
        description="`true`, beside `norm` and in place of `eps`: the attack looks for the nearest "
        "wrong input, whatever its distance, and the distance is the result. Attacks that look for "
        "it play every radius of the norm as well, without being run again.",
    )

    @property
    def label(self) -> str:
        """The budget for people: ``L∞ 8/255, 200 queries``; fractions as they were written.

        Where channels have units of their own, their radii follow in 255ths:
        ``L∞ 0.1 × (0.2, 0.4) = (5.1, 10.2)/255``.
        """
        levels = ", ".join(f"{255 * radius:.3g}" for radius in self.radii)
        return self._text(f" = ({levels})/255" if self.per_channel else "")

    @property
    def short_label(self) -> str:
        """The label without the radii in 255ths, which follow from the rest."""
        return self._text("")

    @property
    def radii(self) -> tuple[float, ...]:
        """Radius of each channel in [0, 1] pixels; of a norm that has one for all, that one."""
        if self.eps is None:
            return ()
        return tuple(self.eps * unit for unit in self.per_channel or (1.0,))

    def _text(self, radii: str) -> str:
        parts: list[str] = []
        if self.unbounded:
            parts.append("unbounded")
        if self.norm is not None and self.eps is not None:
            units = ", ".join(map(number_text, self.per_channel or ()))
            times = f" × ({units}){radii}" if units else ""
            parts.append(f"{NORMS[self.norm]} {number_text(self.eps)}{times}")
        if self.norm is not None and self.minimal:
            parts.append(f"nearest in {NORMS[self.norm]}")
        if self.patch is not None:
            parts.append(f"patch {self.patch}×{self.patch}")
        if self.pixels is not None:
            parts.append("1 pixel" if self.pixels == 1 else f"{self.pixels} pixels")
        if self.edits is not None:
            only = {(True, False): "label ", (False, True): "input "}
            what = only.get((bool(self.labels), bool(self.features)), "")
            parts.append(f"{100 * self.edits:.6g} % {what}edits")
        if self.queries is not None:
            parts.append(f"{self.queries} queries")
        if self.answers == "labels":
            parts.append("labels only")
        if self.target is not None:
            parts.append(f"target {self.target}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Limit]:
        """Return the fields that are set, as plain values."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _plain(value) for name, value in fields.items() if value is not None}

    def count(self, examples: int) -> int | None:
        """Return how many of ``examples`` training examples may change."""
        return None if self.edits is None else round(self.edits * examples)

    def problems(self) -> Iterator[Problem]:
        """Check that norm and radius go together, and that nothing bounds an unbounded budget."""
        if self.eps is not None and self.norm is None:
            yield Problem(("eps",), "eps without a norm", "add norm: linf or norm: l2")
        if self.norm is not None and self.eps is None and not self.minimal:
            yield Problem(("norm",), "a norm without eps", "add eps, or minimal: true")
        if self.minimal and self.norm is None:
            yield Problem(("minimal",), "minimal without a norm", "add norm: linf or norm: l2")
        if self.minimal and any((self.eps, self.patch, self.pixels, self.per_channel)):
            what = "minimal beside a bound: the distance is the result"
            yield Problem(("minimal",), what, "write two budgets, one with the bound")
        if self.per_channel and self.norm != "linf":
            yield Problem(("per_channel",), "per_channel without norm: linf", "add norm: linf")
        if self.unbounded and any((self.norm, self.eps, self.patch, self.pixels, self.minimal)):
            yield Problem(("unbounded",), "unbounded beside a bound", "remove one of them")

    def problems_under(self, threat_model: ThreatModel) -> Iterator[Problem]:
        """Yield fields that a threat model does not have, and fields that it needs."""
        rule = BUDGET_FIELDS[threat_model]
        for name in self.to_json():
            if name not in rule.allowed:
                what = f"{threat_model} has no budget field {name}"
                yield Problem((name,), what, f"remove it; it has {', '.join(rule.allowed)}")
        for name in rule.required:
            if getattr(self, name) is None:
                yield Problem((), f"{threat_model} needs {name} in its budget", f"add {name}")
        if not any(getattr(self, name) for name in rule.one_of):
            names = " or ".join(rule.one_of)
            yield Problem((), f"{threat_model} needs {names} in its budget", "add one of them")


def _plain(value: Limit) -> Limit:
    """Return a limit without the text that a fraction keeps."""
    if isinstance(value, tuple | list):
        return [float(one) for one in value]
    return float(value) if isinstance(value, float) else value


def number_text(number: float) -> str:
    """Return a number as a person wrote it: a fraction stays one."""
    return number.text if isinstance(number, Ratio) else f"{number:.12g}"


def count_edits(budget: Mapping[str, Limit], examples: int) -> dict[str, Limit]:
    """Return the budget with ``edits`` as a count: ``round(fraction × examples)``."""
    fraction = budget.get("edits")
    if fraction is None:
        return dict(budget)
    assert not isinstance(fraction, list)  # a share
    return dict(budget) | {"edits": round(float(fraction) * examples)}
