"""Stages and their keys: a graph without duplicates, in which stages with equal keys are one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from harness.common.keys import (
    KEY_VERSION,
    canonical_json,
    code_digest,
    environment_digest,
    runtime_digest,
)
from harness.config.environments import Environments
from harness.planning.recipe import ModuleRef, Recipe, StageRecipe

HOST = frozenset({"data", "slice", "goal", "clean", "apply", "measure", "weights"})
"""Kinds of stages that run in the harness itself, without module code."""

INTERMEDIATE = {"apply": "train", "attack": "attacked"}
"""Kind → the part of its artefact that is removed once every planned reader is done."""

HOST_CODE: dict[str, tuple[str, ...]] = {
    "data": ("datasets",),
    "slice": ("running/host_stages.py",),
    "goal": ("running/host_stages.py",),
    "clean": ("running/host_stages.py",),
    "apply": ("running/host_stages.py", "config/budget.py", "judge/budget.py", "judge/edits.py"),
    "measure": (
        "running/host_stages.py",
        "judge/budget.py",
        "judge/common.py",
        "judge/similarity.py",
    ),
    "weights": ("planning/weights.py",),
}
"""Kind → files of the harness that decide the result; their digest is in the stage's key."""


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
        self._environments = environments
        self._host_code = {kind: code_digest(names) for kind, names in HOST_CODE.items()}
        self._base = {
            "version": KEY_VERSION,
            "device": device,
            "runtime": runtime_digest(),
        }
        self._heads: dict[tuple[str, str], bytes] = {}

    def add(self, kind: str, inputs: Mapping[str, Input], recipe: Recipe) -> str:
        """Add a stage and return its key."""
        text = b"%b,%b,%b]" % (
            self._head(kind, recipe),
            canonical_json(inputs),
            canonical_json(recipe.to_json()),
        )
        key = hashlib.sha256(text).hexdigest()
        if key not in self.stages:
            self.stages[key] = Stage(kind, key, inputs, recipe)
        return key

    def _head(self, kind: str, recipe: Recipe) -> bytes:
        """Return the encoded beginning of [kind, base, inputs, recipe], which many stages share."""
        environment = ""
        if isinstance(recipe, StageRecipe):
            known = self._environments
            refs = (ref.module for ref in recipe.modules.values())
            environment = environment_digest() if known is None else known.key(refs)
        if (kind, environment) not in self._heads:
            base = self._base | {"environment": environment}
            if kind in HOST:
                base = {"version": KEY_VERSION, "code": self._host_code[kind]}
            self._heads[kind, environment] = canonical_json([kind, base]).removesuffix(b"]")
        return self._heads[kind, environment]

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
