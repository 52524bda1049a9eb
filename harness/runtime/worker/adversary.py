"""Attack that a defence trains against."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data, Model
from harness.runtime.model import eval_mode
from harness.runtime.worker.job import Job
from harness.runtime.worker.module_types import AttackModule


class JobAdversary:
    """Implementation of ``contracts.Adversary`` by the job's module in the role ``adversary``."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._attack = cast(AttackModule, job.module("adversary"))
        self._entry = job.modules["adversary"]
        self._models: dict[int, Model] = {}

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return attacked inputs."""
        # training seeds torch's global generator at every step; its seed tells the steps apart, and
        # a resumed training draws the same numbers
        with eval_mode(network), self._job.ctx.within("step", torch.initial_seed()):
            result = self._attack.perturb(
                self._model(network), x.detach(), y, None, self._entry.budget, self._job.ctx
            )
        return result.detach()

    def learn(self, network: nn.Module, train: Data, val: Data) -> None:
        """Run the attack's ``learn``, if it has that hook."""
        if "learn" in self._entry.hooks:
            with eval_mode(network):
                model = self._model(network)
                self._attack.learn(model, train, val, self._entry.budget, self._job.ctx)

    def _model(self, network: nn.Module) -> Model:
        if id(network) not in self._models:
            # a model adds hooks to the network that count passes; one per batch would pile up
            model = self._job.live(network, network, self._entry.needs)
            self._models[id(network)] = cast(Model, model)
        return self._models[id(network)]
