"""Job of a stage: ``job.json`` with the modules, data and networks that it names."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from harness.runtime.contracts import ContractError, Data, Loss, NotApplicable, Spec
from harness.runtime.crops import centre_crop
from harness.runtime.model import LiveModel
from harness.runtime.tasks import loss_for
from harness.runtime.worker import arrays, loader
from harness.runtime.worker.context import StageContext
from harness.runtime.worker.job_values import JobModule, Options, spec_from_json
from harness.runtime.worker.module_types import AttackModule, DefenseModule, VictimModule
from harness.runtime.worker.overlay_files import load_overlay

ROLES = {"attack": "attack", "defense": "defense", "victim": "victim", "adversary": "defense"}
"""Role of a module in a job → role that is responsible for it."""


@dataclass
class Job:
    """Job with all paths and parameters resolved.

    Attributes:
        stage: kind of the stage.
        spec: description of the data set.
        device: device of networks and batches.
        seed_root: values from which all seeds of the stage are derived.
        deadline: seconds from the start until the stage is stopped.
        modules: role (attack, defense, victim, adversary) → its module.
        inputs: name → path of each granted input.
        options: options of the stage.
        folder: folder of ``job.json``, in which the stage writes.
        checkpoint: folder that survives a kill.
        listener: descriptor of the open socket on which a service answers, if it inherits one.
        passes: examples that went through the network, by direction.
        breach: from a service, what the attack did against the protocol; else empty.
        waiting: from a service, seconds for which its network has owed an answer, or ``None``.
        graphs: from a service, number of batches that the attack has its network hold.
        health: from a service, figures on the gradients that the attack asked for, by name.
        loaded: role → its module, once it is constructed.
        called: role whose module was called or loaded last; an adversary belongs to its defence.
        started: start of the stage, on the monotonic clock.
        hook_seconds: seconds spent in hooks.
    """

    stage: str
    spec: Spec
    device: torch.device
    seed_root: list[str | int]
    deadline: float
    modules: dict[str, JobModule]
    inputs: dict[str, Path]
    options: Options
    folder: Path
    checkpoint: Path
    listener: int | None = None
    passes: dict[str, int] = field(default_factory=dict)
    breach: str = ""
    waiting: float | None = None
    graphs: int = 0
    health: dict[str, float] = field(default_factory=dict)
    loaded: dict[str, object] = field(default_factory=dict)
    called: str | None = None
    started: float = field(default_factory=time.monotonic)
    hook_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read ``job.json``."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            stage=raw["stage"],
            spec=spec_from_json(raw["spec"]),
            device=torch.device(raw["device"]),
            seed_root=raw["seed_root"],
            deadline=raw["deadline"],
            modules={role: JobModule.from_json(one) for role, one in raw["modules"].items()},
            inputs={name: Path(value) for name, value in raw["inputs"].items()},
            options=Options.from_json(raw["options"]),
            folder=path.parent,
            checkpoint=Path(raw["checkpoint"]),
            listener=raw.get("listener"),
        )

    @property
    def out(self) -> Path:
        """Folder of the stage's artefacts."""
        return self.folder / "out"

    @cached_property
    def ctx(self) -> StageContext:
        """Context of the hooks; made once."""
        state = self.inputs.get("state", self.out / "state")
        for path in (self.out, self.folder / "scratch", self.checkpoint):
            path.mkdir(parents=True, exist_ok=True)
        if "state" not in self.inputs:
            state.mkdir(exist_ok=True)
        return StageContext(
            device=self.device,
            spec=self.spec,
            seed_root=self.seed_root,
            deadline=self.started + self.deadline,
            scratch=self.folder / "scratch",
            state=state,
            checkpoint=self.checkpoint,
            curves=self.out / "curves.jsonl",
        )

    # -- modules ------------------------------------------------------------------------------

    def module(self, role: str) -> object:
        """Return the module of a role; it is constructed once.

        Raises:
            KeyError: the job has no module in this role.
        """
        if role not in self.loaded:
            entry = self.modules[role]
            before, self.called = self.called, ROLES[role]
            self.loaded[role] = loader.construct(
                entry.folder, entry.entry, entry.kind, entry.hooks, entry.arguments(self.inputs)
            )
            self.called = before
        return self.loaded[role]

    @property
    def attack(self) -> AttackModule:
        """Attack of the job."""
        return cast(AttackModule, self.module("attack"))

    @property
    def defense(self) -> DefenseModule:
        """Defence of the job."""
        return cast(DefenseModule, self.module("defense"))

    @property
    def victim(self) -> VictimModule:
        """Victim of the job."""
        return cast(VictimModule, self.module("victim"))

    def has(self, role: str, hook: str) -> bool:
        """Return whether the job has a module in this role with this hook."""
        return role in self.modules and getattr(self.module(role), hook, None) is not None

    @property
    def answering_role(self) -> str:
        """Role that is responsible for what the defended network does."""
        return "defense" if "defense" in self.modules else "victim"

    def role_of(self, file: str) -> str | None:
        """Return the role in whose module folder a file lies, or ``None``."""
        path = Path(file)
        for role, module in self.modules.items():
            if path.is_relative_to(module.folder):
                return ROLES[role]
        return None

    # -- inputs -------------------------------------------------------------------------------

    def data(self, name: str) -> Data:
        """Return a granted data set, memory-mapped from ``x.npy``, ``y.npy`` and ``ids.npy``.

        Of images that are stored larger than networks see them, it holds the middle.
        """
        folder = self.inputs[name]
        x = arrays.load_tensor(folder / "x.npy")
        larger = self.spec.stored is not None and tuple(x.shape[1:]) == self.spec.stored
        return Data(
            raw=centre_crop(x, self.spec.shape) if larger else x,
            uncropped=x if larger else None,
            y=arrays.load_tensor(folder / "y.npy").to(self.device),
            ids=arrays.load_tensor(folder / "ids.npy"),
            spec=self.spec,
            device=self.device,
            overlay=load_overlay(folder),
        )

    def tensor(self, name: str, file: str) -> Tensor:
        """Return one array of a granted input."""
        return arrays.load_tensor(self.inputs[name] / file)

    # -- networks -----------------------------------------------------------------------------

    def build(self) -> nn.Module:
        """Return an untrained network, made by the defence's ``build`` if it has one."""
        torch.manual_seed(self.ctx.seed("build"))
        defended, victim = self.has("defense", "build"), self.victim
        self.called = "defense" if defended else "victim"
        network: object
        try:
            network = self.defense.build(victim, self.spec) if defended else victim.build(self.spec)
        except NotApplicable:
            if defended:  # a victim that declines without the defence too is responsible itself
                del self.loaded["victim"]
                self.victim.build(self.spec)
            raise
        return check_network(network, "build").to(self.device)

    def start(self) -> nn.Module:
        """Return the network at the start of a training.

        It is built anew, with every public or delivered tensor but those of the head. A victim that
        has initial weights starts with all of these.
        """
        if "initial" in self.inputs:
            return self.trained("initial")
        network = self.build()
        if "start" in self.inputs:
            path = self.inputs["start"] / "network.safetensors"
            arrays.load_all_but_head(path, network, self.victim.head)
        return network

    def trained(self, weights: str = "weights") -> nn.Module:
        """Return the network of an earlier stage, built anew and loaded strictly."""
        network = self.build()
        arrays.load_weights(self.inputs[weights] / "network.safetensors", network)
        return network

    def guard(self, network: nn.Module) -> nn.Module:
        """Return a trained network with the defence's guard, or unchanged if there is none."""
        if not self.has("defense", "guard"):
            return network
        self.called = "defense"
        return check_network(self.defense.guard(network, self.ctx), "guard")

    def loss(self, smoothing: float = 0.0) -> Loss:
        """Return the training loss: the defence's, else the victim's, else the task's.

        Args:
            smoothing: share of label smoothing in the task's loss.
        """
        for role in ("defense", "victim"):
            if self.has(role, "loss"):
                return cast(DefenseModule, self.module(role)).loss
        return loss_for(self.spec, smoothing)

    def live(
        self,
        network: nn.Module,
        guarded: nn.Module,
        needs: Iterable[str],
        build: Callable[[], nn.Module] | None = None,
        *,
        headless: bool = False,
    ) -> LiveModel:
        """Return white-box access to a network; see ``LiveModel`` for the arguments."""
        return LiveModel(
            network,
            guarded,
            self.victim,
            self.spec,
            build or self.build,
            self.loss(),
            needs,
            headless=headless,
        )


def check_network(value: object, hook: str) -> nn.Module:
    """Return what a hook returned, if it is a network.

    Raises:
        ContractError: it is something else.
    """
    if not isinstance(value, nn.Module):
        raise ContractError(f"{hook}() returned {type(value).__name__}, expected nn.Module")
    return value
