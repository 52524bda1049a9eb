"""Recipes of stages: frozen types whose canonical JSON is a part of each stage's key.

A field more, or another name of one, changes keys; ``test_recipe_keys`` pins them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from harness.config.field_types import Limit, Value
from harness.config.strict_yaml import Json
from harness.planning.options import Fields, Options

THREADS = 1
"""Threads of a stage. Part of the plan: 1 and 2 threads differ after two dozen steps."""


@dataclass(frozen=True, slots=True)
class ModuleRef:
    """Module of a stage: its code and the arguments of its constructor.

    Attributes:
        module: reference, such as ``attacks/pgd``.
        digest: digest of the module's folder.
        params: resolved parameters.
        budget: budget of an adversary; ``None`` where the stage's own budget counts.
    """

    module: str
    digest: str
    params: Mapping[str, Value]
    budget: Mapping[str, Limit] | None = None

    def to_json(self) -> dict[str, object]:
        """Return the JSON form; without a budget the key is left out."""
        found: dict[str, object] = {
            "module": self.module,
            "digest": self.digest,
            "params": self.params,
        }
        if self.budget is not None:
            found["budget"] = self.budget
        return found


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """Recipe of a stage that runs module code.

    Attributes:
        modules: role → module.
        seed: the cell's seed; 0 where no random number plays a part.
        threads: threads of the process.
        budget: limits of the attack; empty where the stage runs none.
        options: all else that the stage's kind is told.
    """

    modules: Mapping[str, ModuleRef]
    seed: int
    threads: int
    budget: Mapping[str, Limit]
    options: Options

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "modules": {role: ref.to_json() for role, ref in self.modules.items()},
            "seed": self.seed,
            "threads": self.threads,
            "budget": self.budget,
            "options": self.options.to_json(),
        }

    def with_options(self, options: Options) -> StageRecipe:
        """Return the recipe of another stage with the same modules and seed, without a budget."""
        return replace(self, budget={}, options=options)


@dataclass(frozen=True, slots=True)
class DataRecipe(Fields):
    """Recipe of ``data``.

    Attributes:
        name: the data set.
        digest: digest of what decides its arrays.
        train_fraction: share of the training set that is used.
        shots: training examples of each class that are used, in place of a share; or ``None``.
        part: part of the training set from which they are taken, such as ``1/2``, or ``None``.
    """

    name: str
    digest: str
    train_fraction: float
    shots: int | None = None
    part: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; ``shots`` and ``part`` are left out where there are none."""
        return {name: value for name, value in Fields.to_json(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class SubsetRecipe(Fields):
    """Recipe of ``slice`` and ``clean``.

    Attributes:
        examples: number of examples, the first by hash; ``None`` for all.
    """

    examples: int | None


@dataclass(frozen=True, slots=True)
class GoalRecipe(Fields):
    """Recipe of ``goal``.

    Attributes:
        goal: ``next``, ``random`` or one class for all examples.
    """

    goal: str | int


@dataclass(frozen=True, slots=True)
class ApplyRecipe(Fields):
    """Recipe of ``apply``.

    Attributes:
        budget: limits of an attack's edits; ``None`` for a sanitizer's choice of examples.
    """

    budget: Mapping[str, Limit] | None


@dataclass(frozen=True, slots=True)
class MeasureRecipe(Fields):
    """Recipe of ``measure``.

    Attributes:
        keep: number of attacked examples that are kept for pictures.
        boxes: whether the box of each example's changed pixels is kept.
    """

    keep: int
    boxes: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; ``boxes`` is left out where it is false."""
        found: dict[str, Json] = {"keep": self.keep}
        return found | {"boxes": True} if self.boxes else found


@dataclass(frozen=True, slots=True)
class DecideRecipe(Fields):
    """Recipe of ``decide``.

    Attributes:
        votes: noisy copies of each input whose classes were counted.
        noise: standard deviation of their noise.
        alpha: probability with which a certificate may be wrong, and level of the test of votes.
    """

    votes: int
    noise: float
    alpha: float


@dataclass(frozen=True, slots=True)
class StrongestRecipe(Fields):
    """Recipe of ``strongest``.

    Attributes:
        attacks: number of attacks of which each example's strongest input is chosen.
        shrunk: whether each change of a value is multiplied by a random factor.
    """

    attacks: int
    shrunk: bool


@dataclass(frozen=True, slots=True)
class SurvivorsRecipe(Fields):
    """Recipe of ``survivors``, which has no options."""


@dataclass(frozen=True, slots=True)
class MergeRecipe(Fields):
    """Recipe of ``merge``.

    Attributes:
        attacks: number of attacks whose inputs become one batch.
    """

    attacks: int


@dataclass(frozen=True, slots=True)
class WeightsRecipe(Fields):
    """Recipe of ``weights``.

    Attributes:
        name: ``VICTIM/WEIGHTS``.
        files: name of each file → SHA-256 of its bytes.
    """

    name: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FileRecipe:
    """Recipe of ``file``: a file or folder of the benchmark's own, which a module takes.

    Attributes:
        path: where it lies on this machine; no part of the key, and no record has it.
        sha256: digest of its content, without its name.
    """

    path: Path
    sha256: str

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: the content alone."""
        return {"sha256": self.sha256}

    @property
    def reference(self) -> str:
        """Value of the parameter in keys and jobs, and name of the input that holds the file."""
        return f"sha256:{self.sha256}"

    @property
    def label(self) -> str:
        """Value of the parameter in records and on pages."""
        return f"{self.path.name} {self.reference}"


HostRecipe: TypeAlias = (
    DataRecipe
    | SubsetRecipe
    | GoalRecipe
    | ApplyRecipe
    | MeasureRecipe
    | DecideRecipe
    | StrongestRecipe
    | SurvivorsRecipe
    | MergeRecipe
    | WeightsRecipe
    | FileRecipe
)
"""Recipe of a stage that runs in the harness itself."""

Recipe: TypeAlias = StageRecipe | HostRecipe
