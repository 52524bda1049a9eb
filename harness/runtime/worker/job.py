"""A stage's job as the worker reads it: ``job.json``, fully resolved, and the objects it names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_tensors
from torch import Tensor, nn

from harness.runtime.contracts import (
    Adversary,
    Budget,
    ContractError,
    Data,
    Loss,
    NotApplicable,
    Spec,
)
from harness.runtime.model import LiveModel, eval_mode
from harness.runtime.tasks import loss_for
from harness.runtime.worker import arrays, loader
from harness.runtime.worker.context import StageContext

ROLES = {"attack": "attack", "defense": "defense", "victim": "victim", "adversary": "defense"}
"""Role of a module in a job → the role that answers for it."""


@dataclass
class Job:
    """A resolved job.

    Attributes:
        stage: the stage kind. task, device, threads, seed: as planned.
        deadline: seconds from the start until the stage is stopped.
        modules: role (attack, defense, victim, adversary) → folder, entry, hooks, params, needs.
        inputs: name → path of what was granted. options: the rest that the stage kind needs.
        listener: the open socket on which an oracle answers, where it was born with one.
        called: the role whose module was called or loaded last; an adversary is its defence's.
    """

    stage: str
    spec: Spec
    device: torch.device
    seed_root: list[str | int]
    deadline: float
    modules: dict[str, dict[str, Any]]
    inputs: dict[str, Path]
    options: dict[str, Any]
    folder: Path
    checkpoint: Path
    listener: int | None = None
    passes: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    called: str | None = None
    started: float = field(default_factory=time.monotonic)
    hook_seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read ``job.json``."""
        raw = arrays.read_json(path)
        spec = raw["spec"]
        return cls(
            stage=raw["stage"],
            spec=Spec(**spec | {"shape": tuple(spec["shape"]), "classes": tuple(spec["classes"])}),
            device=torch.device(raw["device"]),
            seed_root=raw["seed_root"],
            deadline=raw["deadline"],
            modules=raw["modules"],
            inputs={name: Path(value) for name, value in raw["inputs"].items()},
            options=raw["options"],
            folder=path.parent,
            checkpoint=Path(raw["checkpoint"]),
            listener=raw.get("listener"),
        )

    @property
    def out(self) -> Path:
        """Where artefacts go."""
        return self.folder / "out"

    @cached_property
    def ctx(self) -> StageContext:
        """The hook's context; made once."""
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

    @cached_property
    def budget(self) -> Budget:
        """The budget fields that this stage sees."""
        return Budget(**self.options.get("budget", {}))

    def module(self, role: str) -> Any:  # noqa: ANN401
        """A module by its role, constructed once; ``None`` when the job has none."""
        if role not in self.modules:
            return None
        if role not in self.loaded:
            m = self.modules[role]
            before, self.called = self.called, ROLES[role]
            self.loaded[role] = loader.construct(
                Path(m["folder"]), m["entry"], m["kind"], m["hooks"], m["params"]
            )
            self.called = before
        return self.loaded[role]

    def owner(self, file: str) -> str | None:
        """Return the role in whose module folder a file lies, or ``None``."""
        path = Path(file)
        for role, module in self.modules.items():
            if path.is_relative_to(module["folder"]):
                return ROLES[role]
        return None

    def hook(self, role: str, name: str) -> Any:  # noqa: ANN401
        """A bound hook of a module, or ``None`` when it has none of that name."""
        return getattr(self.module(role), name, None) if role in self.modules else None

    def data(self, name: str) -> Data:
        """A granted set: ``x.npy y.npy ids.npy``, memory-mapped."""
        folder = self.inputs[name]
        return Data(
            raw=arrays.load_tensor(folder / "x.npy"),
            y=arrays.load_tensor(folder / "y.npy").to(self.device),
            ids=arrays.load_tensor(folder / "ids.npy"),
            spec=self.spec,
            device=self.device,
        )

    def tensor(self, name: str, file: str) -> Tensor:
        """One granted array."""
        return arrays.load_tensor(self.inputs[name] / file)

    def build(self) -> nn.Module:
        """An untrained network, by the defence's ``build`` where it has one."""
        torch.manual_seed(self.ctx.seed("build"))
        builder = self.hook("defense", "build")
        victim = self.module("victim")
        self.called = "defense" if builder else "victim"
        try:
            network = builder(victim, self.spec) if builder else victim.build(self.spec)
        except NotApplicable:
            if builder:  # a victim that declines without the defence, too, answers for itself
                del self.loaded["victim"]
                self.module("victim").build(self.spec)
            raise
        if not isinstance(network, nn.Module):
            raise ContractError(f"build() returned {type(network).__name__}, expected nn.Module")
        return network.to(self.device)

    def start(self) -> nn.Module:
        """A network to train: built, with every public or delivered tensor but the head.

        A victim that comes with weights starts from all of them.
        """
        if "initial" in self.inputs:
            return self.trained("initial")
        network = self.build()
        if "start" in self.inputs:
            copy_all_but_head(self.inputs["start"], network, self.module("victim").head)
        return network

    def trained(self, weights: str = "weights") -> nn.Module:
        """The network of an earlier stage, rebuilt and loaded strictly."""
        network = self.build()
        arrays.load_weights(self.inputs[weights] / "network.safetensors", network)
        return network

    def guard(self, network: nn.Module) -> nn.Module:
        """The defence's guard around a trained network, or the network itself."""
        guard = self.hook("defense", "guard")
        if guard:
            self.called = "defense"
        guarded = guard(network, self.ctx) if guard else network
        if not isinstance(guarded, nn.Module):
            raise ContractError(f"guard() returned {type(guarded).__name__}, expected nn.Module")
        return guarded

    def loss(self) -> Loss:
        """The training loss: the defence's, else the victim's, else the task's."""
        chosen: Loss | None = self.hook("defense", "loss") or self.hook("victim", "loss")
        return chosen or loss_for(self.spec.task)

    def live(
        self,
        network: nn.Module,
        guarded: nn.Module,
        needs: list[str],
        build: Callable[[], nn.Module] | None = None,
    ) -> LiveModel:
        """White-box access to a network for an attack."""
        return LiveModel(
            network,
            guarded,
            self.module("victim"),
            self.spec,
            build or self.build,
            self.loss(),
            needs,
        )

    def granted(self) -> LiveModel | None:
        """The clean victim or surrogate that a benchmark's ``knowledge`` grants to ``poison``."""
        if "knowledge" not in self.inputs:
            return None
        network = self.trained("knowledge")
        # its training may begin with existing weights, and so may an attacker's own
        return self.live(network, network, self.modules["attack"]["needs"], self.start)

    def adversary(self) -> Adversary | None:
        """The attack that the defence's matrix entry names."""
        return JobAdversary(self) if "adversary" in self.modules else None


class JobAdversary:
    """See ``contracts.Adversary``."""

    def __init__(self, job: Job) -> None:
        self._job, self._attack = job, job.module("adversary")
        self._entry = job.modules["adversary"]
        self._budget = Budget(**self._entry["budget"])
        self._live: dict[int, LiveModel] = {}

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Attacked inputs."""
        # training seeds torch's global generator at every step, so that a resumed one draws alike
        with eval_mode(network), self._job.ctx.within("step", torch.initial_seed()):
            result: Tensor = self._attack.perturb(
                self._model(network), x.detach(), y, None, self._budget, self._job.ctx
            )
        return result.detach()

    def learn(self, network: nn.Module, train: Data, val: Data) -> None:
        """Run the attack's ``learn``, if it has one."""
        if "learn" in self._entry["hooks"]:
            with eval_mode(network):
                self._attack.learn(self._model(network), train, val, self._budget, self._job.ctx)

    def _model(self, network: nn.Module) -> LiveModel:
        if id(network) not in self._live:
            # the count hooks stay on the network; making a model a batch would pile them up
            self._live[id(network)] = self._job.live(network, network, self._entry["needs"])
        return self._live[id(network)]


def copy_all_but_head(folder: Path, network: nn.Module, head: str) -> None:
    """Copy every stored tensor but the head's; any other difference is an error."""
    stored = load_tensors(folder / "network.safetensors")
    own = network.state_dict()
    wrong = [
        name
        for name in own.keys() | stored.keys()
        if not name.startswith(head + ".")
        and (name not in own or name not in stored or own[name].shape != stored[name].shape)
    ]
    if wrong:
        raise ContractError(
            "the public or delivered network differs from the student outside its head: "
            f"{', '.join(sorted(wrong)[:3])}"
        )
    own |= {name: value for name, value in stored.items() if not name.startswith(head + ".")}
    network.load_state_dict(own)
