"""Stages and their keys: a de-duplicated graph in which equal key means same run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.common.keys import (
    KEY_VERSION,
    canonical_json,
    code_digest,
    environment_digest,
    runtime_digest,
)
from harness.config.environments import Environments

HOST = frozenset({"data", "slice", "goal", "clean", "apply", "measure", "weights"})
"""Stage kinds that are ours: no third-party code, run inside the harness."""

PASSING = {"apply": "train", "attack": "attacked"}
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
"""Which of our files decide a host stage's result; their digest is in its key."""


class Input(NamedTuple):
    """A granted part of another stage's artefact."""

    key: str
    part: str


@dataclass(slots=True, frozen=True)
class Stage:
    """One node: what is hashed, and nothing that is not.

    Attributes:
        kind: the stage kind. key: hexadecimal digest of everything below.
        inputs: name → granted part. recipe: all else that decides the result.
    """

    kind: str
    key: str
    inputs: Mapping[str, Input]
    recipe: Mapping[str, Any]

    @property
    def passing(self) -> str | None:
        """The part of the artefact that goes when its readers are done, if any."""
        return PASSING.get(self.kind)

    def reads(self) -> Iterator[str]:
        """Keys of the stages that this one reads, each once."""
        yield from dict.fromkeys(one.key for one in self.inputs.values())


class Graph:
    """Stages by key; adding an equal stage twice gives the first."""

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

    def add(self, kind: str, inputs: Mapping[str, Input], recipe: Mapping[str, Any]) -> str:
        """Add a stage and return its key."""
        text = b"%b,%b,%b]" % (
            self._head(kind, recipe),
            canonical_json(inputs),
            canonical_json(recipe),
        )
        key = hashlib.sha256(text).hexdigest()
        if key not in self.stages:
            self.stages[key] = Stage(kind, key, inputs, recipe)
        return key

    def _head(self, kind: str, recipe: Mapping[str, Any]) -> bytes:
        """The beginning of [kind, base, inputs, recipe], encoded once for all that share it."""
        environment = ""
        if kind not in HOST:
            known = self._environments
            environment = environment_digest() if known is None else known.key(recipe)
        if (kind, environment) not in self._heads:
            base = self._base | {"environment": environment}
            if kind in HOST:
                base = {"version": KEY_VERSION, "code": self._host_code[kind]}
            self._heads[kind, environment] = canonical_json([kind, base]).removesuffix(b"]")
        return self._heads[kind, environment]

    def ancestors(self, keys: Iterator[str] | list[str]) -> dict[str, Stage]:
        """The stages of ``keys`` and everything that they read, inputs first."""
        found: dict[str, Stage] = {}
        stack = [(key, False) for key in keys]
        while stack:
            key, ready = stack.pop()
            if key in found:
                continue
            stage = self.stages[key]
            if ready:
                found[key] = stage
                continue
            stack.append((key, True))
            stack += [(read, False) for read in stage.reads() if read not in found]
        return found
