"""Content of ``job.json``, which the harness writes and the worker reads; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NotRequired, TypedDict

Json = Mapping[str, Any]
"""JSON object whose keys the stage kind or a module's author decides."""

CONTENT = "content"
"""Name of a file or folder in the input that holds one of the benchmark's own."""


class SpecEntry(TypedDict):
    """Fields of ``contracts.Spec`` as a data set's ``spec.json`` holds them."""

    task: str
    outputs: int
    shape: list[int]
    classes: list[str]
    items: NotRequired[int | None]
    arity: NotRequired[int | None]
    void: NotRequired[int | None]


LISTS = ("hooks", "needs", "files")
"""Fields of a module that JSON holds as lists."""


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """All that the worker needs to construct a module.

    Attributes:
        name: name of the module.
        folder: folder of the module, as the worker sees it.
        entry: file and class, such as ``attack.py:Pgd``.
        kind: ``attack``, ``defense`` or ``victim``.
        hooks: names of the hooks that it implements.
        params: resolved parameters.
        needs: model access that it declares, such as ``gradients``.
        budget: budget of an adversary in training; other modules have none.
        files: parameters that are files: their values name an input that holds one, or a path in
            the module's folder.
    """

    name: str
    folder: str
    entry: str
    kind: str
    hooks: tuple[str, ...]
    params: Json
    needs: tuple[str, ...]
    budget: Json | None = None
    files: tuple[str, ...] = ()

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs that hold its files, and paths in its folder."""
        return frozenset(str(self.params[name]) for name in self.files)

    def to_json(self) -> dict[str, object]:
        """Return the module as ``job.json`` holds it; ``budget`` and ``files`` are optional."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.budget is None:
            del content["budget"]
        content |= {name: list(getattr(self, name)) for name in LISTS}
        if not self.files:
            del content["files"]
        return content

    @classmethod
    def from_json(cls, content: Json) -> ModuleEntry:
        """Read a module of ``job.json``."""
        lists = {name: tuple(content.get(name, ())) for name in LISTS}
        return cls(**{**content, **lists})


@dataclass(frozen=True, slots=True)
class JobFile:
    """Complete order for one stage.

    Attributes:
        stage: kind of the stage.
        spec: description of the data set.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        seed_root: values from which every seed of the stage is derived.
        deadline: seconds from the start until the stage is stopped.
        modules: role (attack, defense, victim, adversary) → module.
        inputs: name → path of a granted input, as the worker sees it.
        options: settings of the stage kind, with ``threads`` and ``budget``.
        checkpoint: folder that outlives the stage.
        listener: file descriptor on which an oracle answers, where it inherits one.
    """

    stage: str
    spec: SpecEntry
    device: str
    seed_root: tuple[str | int, ...]
    deadline: float
    modules: Mapping[str, ModuleEntry]
    inputs: Mapping[str, str]
    options: Json
    checkpoint: str
    listener: int | None = None

    @property
    def threads(self) -> int:
        """Number of threads that the stage may use."""
        return int(self.options["threads"])

    def with_inputs(self, **more: str) -> JobFile:
        """Return the same order with more inputs."""
        return replace(self, inputs={**self.inputs, **more})

    def to_json(self) -> dict[str, object]:
        """Return the content of ``job.json``; ``listener`` is an optional key."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.listener is None:
            del content["listener"]
        return content | {
            "seed_root": list(self.seed_root),
            "modules": {role: module.to_json() for role, module in self.modules.items()},
            "inputs": dict(self.inputs),
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, text: str | bytes) -> JobFile:
        """Read the text of ``job.json``."""
        content = json.loads(text)
        return cls(
            **content
            | {
                "seed_root": tuple(content["seed_root"]),
                "modules": {
                    role: ModuleEntry.from_json(module)
                    for role, module in content["modules"].items()
                },
            }
        )
