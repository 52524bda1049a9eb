"""Graph of stages without duplicates: stages with equal keys are one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from harness.config.environments import Environments
from harness.planning.recipe import ModuleRef, Recipe, StageRecipe
from harness.planning.stage_keys import StageKeys

INTERMEDIATE = {
    "apply": "train",
    "attack": "attacked",
    "strongest": "attacked",
    "survivors": "x",
    "merge": "attacked",
}
"""Kind → the part of its artefact that is removed once every planned reader is done."""

NO_MODULES: Mapping[str, ModuleRef] = MappingProxyType({})


class Input(NamedTuple):
    """Part of another stage's artefact that a stage may read.

    Attributes:
        key: the other stage.
        part: name of the part; empty for the whole artefact.
    """

    key: str
    part: str


@dataclass(slots=True, frozen=True)
class Stage:
    """Node of the graph: what is hashed, and nothing that is not.

    Attributes:
        kind: kind of the stage.
        key: hexadecimal digest of everything below.
        inputs: name → part that is read.
        recipe: all else that decides the result.
    """

    kind: str
    key: str
    inputs: Mapping[str, Input]
    recipe: Recipe

    @property
    def modules(self) -> Mapping[str, ModuleRef]:
        """Role → module; empty for a stage of the harness itself."""
        return self.recipe.modules if isinstance(self.recipe, StageRecipe) else NO_MODULES

    @property
    def intermediate(self) -> str | None:
        """Part of the artefact that is removed when its readers are done, if any."""
        return INTERMEDIATE.get(self.kind)

    def reads(self) -> Iterator[str]:
        """Yield the keys of the stages that this one reads, each once."""
        yield from dict.fromkeys(one.key for one in self.inputs.values())


class Graph:
    """Stages by key; an equal stage is added once."""

    def __init__(self, device: str = "cpu", environments: Environments | None = None) -> None:
        self.stages: dict[str, Stage] = {}
        self._keys = StageKeys(device, environments)

    def add(self, kind: str, inputs: Mapping[str, Input], recipe: Recipe) -> str:
        """Add a stage and return its key."""
        key = self._keys.make(kind, inputs, recipe)
        if key not in self.stages:
            self.stages[key] = Stage(kind, key, inputs, recipe)
        return key

    def ancestors(self, keys: Iterator[str] | list[str]) -> dict[str, Stage]:
        """Return the stages of ``keys`` and everything that they read, inputs first."""
        found: dict[str, Stage] = {}
        stack = [(key, False) for key in keys]
        while stack:
            key, ready = stack.pop()
            if key in found:
                continue
            stage = self.stages[key]
            if ready:  # all that it reads has been found since it was first on the stack
                found[key] = stage
                continue
            stack.append((key, True))
            stack += [(read, False) for read in stage.reads() if read not in found]
        return found
