"""Rules that refuse limits without a meaning on their data set, in one table.

Types refuse values that are no limits at all (0 queries, a negative eps, 3 edits as a share). The
rules depend on the data set: its shape, its classes, the size of its splits. Those are the
published set's, so that a benchmark is right or wrong on all machines alike; of your own data, they
are those of what is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.common.errors import UserError
from harness.config.benchmark import Benchmark, Matrix
from harness.config.budget import BudgetEntry, number_text
from harness.config.file_model import Problem
from harness.config.strict_yaml import Loc
from harness.config.threat import THREATS
from harness.datasets import Dataset, Datasets
from harness.datasets.base import Facts
from harness.judge.budget import TOLERANCE

LEVELS = 255
"""Largest value of a stored pixel; eps is often given in these steps, without the division."""


@dataclass(frozen=True)
class Context:
    """Context of a value that a rule checks.

    Attributes:
        data: the data set that the value is about.
        budget: the budget that the value stands in, or ``None`` for a key of the matrix.
        train: training examples that can be edited, of those that the entry uses.
        test_inputs: whether the threat model changes test inputs, not only training examples.
        labels: the data sets whose classes a target is one of.
    """

    data: Dataset
    budget: BudgetEntry | None = None
    train: int = 0
    test_inputs: bool = True
    labels: tuple[Dataset, ...] = ()

    @property
    def facts(self) -> Facts:
        """Sizes of the data set."""
        return facts_of(self.data)


def facts_of(data: Dataset) -> Facts:
    """Return the sizes of a data set; sets of unknown size have no rules."""
    assert data.facts is not None
    return data.facts


Finding = tuple[str, str] | None
"""What is wrong and what to do, or nothing."""
Rule = Callable[[Any, Context], Finding]


def _check_radius(eps: float, at: Context) -> Finding:
    """Refuse a ball around an input that holds the whole cube [0, 1]ⁿ: it limits nothing."""
    shape = at.facts.shape
    if not shape or at.budget is None or at.budget.per_channel:
        return None
    unit = "pixels" if len(shape) == 3 else "features"
    size = math.prod(shape)
    largest, what = {
        "linf": (1.0, f"the range of {unit} [0, 1]"),
        "l2": (math.sqrt(size), f"the largest L2 distance of {at.data.name}, √{size}"),
    }[at.budget.norm or "linf"]
    if eps <= largest:
        return None
    steps = float(eps).is_integer() and eps / LEVELS <= largest
    bound = "1" if largest == 1 else f"sqrt({size}) = {math.floor(largest * 1000) / 1000:g}"
    fix = f"write {eps:g}/{LEVELS}?" if steps else f"write at most {bound}"
    return f"eps {number_text(eps)} is larger than {what}", fix


def _check_tolerance(eps: float, at: Context) -> Finding:
    """Refuse a radius within the judge's tolerance: no such change counts."""
    if eps > TOLERANCE or (at.budget is not None and at.budget.per_channel):
        return None
    what = f"eps {number_text(eps)} is within the judge's tolerance of {TOLERANCE:g}"
    return what, "write a larger eps"


def _check_channels(units: Sequence[float], at: Context) -> Finding:
    """Refuse units of other channels than the data's, and radii that limit or allow nothing."""
    shape = at.facts.shape
    if len(shape) != 3:
        return f"per_channel on {at.data.name}, which has no pictures", "remove it"
    if len(units) != shape[0]:
        what = f"per_channel has {_channels(len(units))}, and {at.data.name} has {shape[0]}"
        return what, f"write {_channels(shape[0])}"
    assert at.budget is not None
    for channel, radius in enumerate(at.budget.radii):
        what = f"the radius of channel {channel}, eps × {number_text(units[channel])} = {radius:g}"
        if radius > 1:
            return f"{what}, is larger than the range of pixels [0, 1]", "write a smaller eps"
        if radius <= TOLERANCE:
            what = f"{what}, is within the judge's tolerance of {TOLERANCE:g}"
            return what, "write a larger eps"
    return None


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _check_step(eps: float, at: Context) -> Finding:
    """Refuse a radius that rounding undoes: edited pictures are stored in steps of 1/255."""
    pictures = len(at.facts.shape) == 3
    if not pictures or at.budget is None or not at.budget.edits or eps >= 0.5 / LEVELS:
        return None
    what = f"eps {number_text(eps)} is less than half a step of a stored pixel, 0.5/{LEVELS}"
    return what, f"write at least 1/{LEVELS}"


def _check_patch(side: int, at: Context) -> Finding:
    shape = at.facts.shape
    if len(shape) != 3:
        return f"a patch on {at.data.name}, which has no pictures", "write norm and eps"
    height, width = shape[1:]
    if side <= min(height, width):
        return None
    what = f"patch {side} is larger than a picture of {at.data.name}, {height}×{width}"
    return what, f"write at most {min(height, width)}"


def _check_pixels(count: int, at: Context) -> Finding:
    """Refuse a number of pixels that all of a picture's are within: it limits nothing."""
    shape = at.facts.shape
    if len(shape) != 3:
        return f"pixels on {at.data.name}, which has no pictures", "write norm and eps"
    height, width = shape[1:]
    if count < height * width:
        return None
    what = f"{count:,} pixels may change, and a picture of {at.data.name} has {height * width:,}"
    return what, f"write at most {height * width - 1}"


def _check_bound_on_inputs(value: object, at: Context) -> Finding:
    """Refuse a bound on inputs where only labels of training examples may change."""
    if at.test_inputs or at.budget is None or at.budget.features:
        return None
    return "a bound on inputs, but only labels may change", "remove it, or add features: true"


def _check_edits(edits: float, at: Context) -> Finding:
    if at.budget is None or at.budget.count(at.train):
        return None
    what = f"edits {number_text(edits)} of {at.train:,} training examples rounds to 0 examples"
    return what, f"write at least 1/{at.train}" if at.train else "give more training examples"


def _check_features(features: bool, at: Context) -> Finding:
    """Refuse edits of inputs in ranking: many comparisons share an item."""
    if not features or at.data.task != "ranking":
        return None
    return "comparisons have no inputs of their own to edit", "write labels: true alone"


def _check_target(target: object, at: Context) -> Finding:
    if not isinstance(target, int):
        return None
    for data in at.labels:
        classes = facts_of(data).outputs
        if target >= classes:
            what = f"target {target} is no class of {data.name}, which has {classes}"
            return what, f"write a number from 0 to {classes - 1}"
    return None


def _check_examples(split: str) -> Rule:
    def rule(count: int | None, at: Context) -> Finding:
        there = getattr(at.facts, split)
        if count is None or count <= there:
            return None
        name = {"test": "test", "val": "validation"}[split]
        what = f"{count:,} examples, but the {name} split of {at.data.name} has {there:,}"
        return what, f"write at most {there}"

    return rule


def _check_train_fraction(fraction: float, at: Context) -> Finding:
    """Refuse fewer training examples than classes, which leave a class without any.

    A test split alone is enough for victims with weights; the others are excluded cell by cell.
    """
    facts = at.facts
    if not facts.train:
        return None
    least = facts.outputs if at.data.task == "classification" else 1
    count = round(fraction * facts.train)
    if count >= least:
        return None
    what = f"train_fraction {number_text(fraction)} of {facts.train:,} examples is {count}"
    short = f"{what}, fewer than the {least} classes" if least > 1 else what
    return short, f"write at least {least}/{facts.train}"


def _check_train_examples(count: int | None, at: Context) -> Finding:
    """Refuse more examples than there are, and fewer than classes, as for shares."""
    facts = at.facts
    if count is None:
        return None
    if count > facts.train:
        what = f"{count:,} examples, but {at.data.name} has {facts.train:,} training examples"
        return what, f"write at most {facts.train}" if facts.train else "leave out train_examples"
    least = facts.outputs if at.data.task == "classification" else 1
    if count >= least:
        return None
    return f"{count:,} examples are fewer than the {least} classes", f"write at least {least}"


def _check_shots(shots: int | None, at: Context) -> Finding:
    """Refuse shots where no example has one class, and more of them than there are examples."""
    facts = at.facts
    if shots is None:
        return None
    if at.data.task != "classification":
        what = f"shots on {at.data.name}: in {at.data.task} no example has one class"
        return what, "write train_fraction instead"
    most = facts.train // facts.outputs
    if shots <= most:
        return None
    what = f"{shots:,} examples of each of {facts.outputs} classes, but {at.data.name} has"
    fix = f"write at most {most}" if most else "leave out shots"
    return f"{what} {facts.train:,} training examples", fix


def _check_part(part: str | None, at: Context) -> Finding:
    """Refuse parts where no example has one class, by which they are cut."""
    if part is None or at.data.task == "classification":
        return None
    what = f"part on {at.data.name}: in {at.data.task} no example has one class"
    return what, "write train_fraction instead"


def _check_minimal(_: bool, at: Context) -> Finding:
    """Refuse the nearest wrong input where an input is not wrong as a whole, or is no input."""
    if at.data.task == "classification":
        return None
    what = f"the nearest wrong input of {at.data.name}: in {at.data.task} no input has one class"
    return what, "write eps"


def _check_attention(kept: object, at: Context) -> Finding:
    """Refuse maps of where a network looks where no picture has one answer."""
    if not kept or (at.data.task == "classification" and len(at.facts.shape) == 3):
        return None
    return f"attention on {at.data.name}, which has no pictures with one class each", "remove it"


RULES: dict[str, tuple[Rule, ...]] = {
    "eps": (
        _check_radius,
        _check_tolerance,
        _check_step,
        _check_bound_on_inputs,
    ),
    "per_channel": (_check_channels,),
    "minimal": (_check_minimal,),
    "patch": (_check_patch, _check_bound_on_inputs),
    "pixels": (_check_pixels, _check_bound_on_inputs),
    "edits": (_check_edits,),
    "features": (_check_features,),
    "target": (_check_target,),
    "targeted": (_check_target,),
    "examples": (_check_examples("test"),),
    "clean": (_check_examples("val"),),
    "train_fraction": (_check_train_fraction,),
    "train_examples": (_check_train_examples,),
    "shots": (_check_shots,),
    "part": (_check_part,),
    "attention": (_check_attention,),
}
"""Key → rules on its value; for all other keys their type is rule enough."""


def budget_errors(benchmark: Benchmark, sets: Datasets) -> list[UserError]:
    """Return every limit of a benchmark that means nothing, with its place in the file.

    A limit that means nothing at several amounts of training data is reported at the first.
    """
    errors: dict[str, UserError] = {}
    for index, matrix in enumerate(benchmark.matrices):
        for number, level in enumerate(matrix.levels):
            for loc, what, fix in matrix_problems(level, sets):
                place = (*loc, number) if loc == matrix.level_key else loc
                where = benchmark.where(("matrices", index, *place))
                errors.setdefault(where, UserError(where, what, fix))
        for loc, what, fix in _equal_levels(matrix, sets):
            where = benchmark.where(("matrices", index, *loc))
            errors.setdefault(where, UserError(where, what, fix))
    return list(errors.values())


def _equal_levels(matrix: Matrix, sets: Datasets) -> Iterator[Problem]:
    """Refuse two shares that are the same number of examples: they are one level."""
    entry = matrix.data["student"]
    facts = sets.get(entry.name).facts if entry.name in sets else None
    if matrix.level_key is None or facts is None or not facts.train:
        return
    counts = [level.count(facts.train, facts.outputs) for level in entry.levels]
    for number, count in enumerate(counts):
        if count in counts[:number]:
            what = f"{count:,} of {facts.train:,} examples, as another entry"
            yield Problem((*matrix.level_key, number), what, "keep one")


def matrix_problems(matrix: Matrix, sets: Datasets) -> Iterator[Problem]:
    """Apply the rules to a matrix; data sets that do not exist are reported elsewhere.

    Args:
        matrix: a matrix with one amount of training data.
        sets: the data sets.
    """
    for loc, value, at in _values(matrix, sets):
        for rule in RULES.get(str(loc[-1]), ()):
            if found := rule(value, at):
                yield Problem(loc, *found)
                break  # one line a value


def _values(matrix: Matrix, sets: Datasets) -> Iterator[tuple[Loc, object, Context]]:
    """Yield every value that a rule may check: its key path, the value, its context."""
    found = {
        str(role): sets.get(entry.name) for role, entry in matrix.data.items() if entry.name in sets
    }
    known = {role: data for role, data in found.items() if data.facts is not None}
    for role, entry in matrix.data.items():
        if role in known:
            yield ("data", role, "train_fraction"), entry.train_fraction, Context(known[role])
            yield ("data", role, "train_examples"), entry.examples, Context(known[role])
            yield ("data", role, "shots"), entry.shots, Context(known[role])
            yield ("data", role, "part"), entry.part, Context(known[role])
    threat = THREATS[matrix.threat_model]
    edited: Literal["public", "student"] = "public" if matrix.poisons == "public" else "student"
    if not {"student", edited} <= known.keys():
        return
    student = known["student"]
    labelled: list[str] = ["student", edited] if threat.poisons else ["student"]
    if threat.delivers:
        labelled.append("attacker" if "attacker" in matrix.data else "public")
    facts = facts_of(known[edited])
    at = Context(
        data=student,
        train=matrix.data[edited].count(facts.train, facts.outputs),
        test_inputs=threat.at_test is not None,
        labels=tuple(known[role] for role in dict.fromkeys(labelled) if role in known),
    )
    yield ("eval_subset", "examples"), matrix.eval_subset.examples, at
    yield ("clean",), matrix.clean, at
    yield ("keep", "attention"), matrix.keep.attention, at
    yield ("goal", "targeted"), matrix.goal.targeted, at
    for i, budget in enumerate(matrix.budgets):
        yield from _fields(("budgets", i), budget, at)
    for i, defense in enumerate(matrix.defenses):
        if defense.adversary is not None:
            loc = ("defenses", i, "adversary", "budget")
            yield from _fields(loc, defense.adversary.budget, Context(student))


def _fields(loc: Loc, budget: BudgetEntry, at: Context) -> Iterator[tuple[Loc, object, Context]]:
    within = Context(at.data, budget, at.train, at.test_inputs, at.labels)
    for name, value in budget:
        if value is not None:
            yield (*loc, name), value, within
