"""Victim of the self-check's oracle: one linear layer."""

from __future__ import annotations

from torch import nn

from harness.runtime.contracts import Spec


class Linear:
    """Linear layer on flat inputs; with ``fail``, it cannot be built."""

    head = "1"
    stages = ()

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail

    def build(self, spec: Spec) -> nn.Module:
        """Return the network; its weights come from the host."""
        if self.fail:
            raise RuntimeError("this oracle cannot start")
        inputs = 1
        for side in spec.shape:
            inputs *= side
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, spec.outputs))
