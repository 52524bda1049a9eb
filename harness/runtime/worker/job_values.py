"""Typed parts of ``job.json``: the modules of a job and the options of its stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.runtime.contracts import Budget, Spec
from harness.runtime.worker.job_file import CONTENT


@dataclass(frozen=True)
class JobModule:
    """Module of a job, with its parameters resolved.

    Attributes:
        folder: folder of the module.
        entry: class to construct, ``file.py:Class``.
        kind: ``attack``, ``defense`` or ``victim``.
        hooks: hooks that the manifest lists.
        params: arguments of the constructor.
        needs: parts of a model that the manifest asks for.
        budget: limits of an adversary; empty for other roles.
        files: parameters that are files.
    """

    folder: Path
    entry: str
    kind: str
    hooks: tuple[str, ...]
    params: Mapping[str, object]
    needs: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    files: tuple[str, ...] = ()

    def arguments(self, inputs: Mapping[str, Path]) -> dict[str, object]:
        """Return the constructor's arguments: of a file its path, or ``None`` where there is none.

        Args:
            inputs: name → path of each granted input.
        """
        found = dict(self.params)
        for name in self.files:
            value = str(self.params[name])
            own = inputs[value] / CONTENT if value in inputs else self.folder / value
            found[name] = own if value else None
        return found

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> JobModule:
        """Return the entry of one role in ``job.json``."""
        return cls(
            folder=Path(raw["folder"]),
            entry=raw["entry"],
            kind=raw["kind"],
            hooks=tuple(raw["hooks"]),
            params=raw["params"],
            needs=tuple(raw["needs"]),
            budget=budget_from_json(raw.get("budget", {})),
            files=tuple(raw.get("files", ())),
        )


@dataclass(frozen=True)
class Options:
    """Options of a stage; each kind of stage reads those that it needs.

    Attributes:
        threads: threads of torch.
        budget: limits that the stage may know.
        batch: inputs per call of a hook or network.
        access: model that an attack gets: ``victim`` or ``oracle``, whose network is in another
            process, ``source``, another network in its own, or ``none``.
        no_model_access: whether an attack gets neither model nor labels, as its manifest says.
        hook: hook of an attack stage, ``perturb`` or ``trigger``.
        choice: hexadecimal text that decides which test examples are probed.
        least_likely: whether the goal is the class that the model ranks last.
        needs: parts of the model that an attack's manifest asks for; in a service.
        examples: number of inputs that the attack gets; in a service.
        start: whether imported weights get a new head later.
        eight_bit: whether inputs are rounded to 8 bits before they are predicted.
        rebatch: whether a sample of the inputs is predicted in other batches, and again in these.
        samples: passes of a random network for an answer to a white-box attack; in a service.
        draws: predictions of each input by a random network.
        noise: standard deviation of the noise that each pass adds to its inputs, or ``None``.
        votes: noisy copies of each input whose classes are counted.
        selection: further noisy copies, counted apart.
        modes: modes of attention maps.
    """

    threads: int
    budget: Budget = field(default_factory=Budget)
    batch: int = 0
    choice: str = "0"
    access: str = "none"
    no_model_access: bool = False
    hook: str = "perturb"
    least_likely: bool = False
    needs: tuple[str, ...] = ()
    examples: int = 0
    start: bool = False
    eight_bit: bool = False
    rebatch: bool = False
    samples: int = 1
    draws: int = 1
    noise: float | None = None
    votes: int = 0
    selection: int = 0
    modes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Options:
        """Return the options of ``job.json``; keys that no stage reads are ignored."""
        known = {one.name: raw[one.name] for one in fields(cls) if one.name in raw}
        known |= {name: tuple(raw.get(name, ())) for name in ("needs", "modes")}
        return cls(**known | {"budget": budget_from_json(raw.get("budget", {}))})


def budget_from_json(raw: Mapping[str, Any]) -> Budget:
    """Return the limits of an attack in ``job.json``."""
    units = raw.get("per_channel")
    return Budget(**{**raw, "per_channel": None if units is None else tuple(units)})


def spec_from_json(raw: Mapping[str, Any]) -> Spec:
    """Return the description of a data set in ``job.json``."""
    tuples = {name: tuple(raw[name]) for name in ("shape", "classes", "stored") if name in raw}
    return Spec(**{**raw, **tuples})
