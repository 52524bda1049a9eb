"""Networks as attacks hold them: frozen, in eval mode, counting every pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.runtime.contracts import ContractError, Loss, Spec
from harness.runtime.tasks import TASKS

NEEDS = ("loss", "features", "maps", "gradients")

_SAME = nn.Identity()


@dataclass
class Passes:
    """Examples sent forward and backward through a network."""

    forward: int = 0
    backward: int = 0


def count_passes(network: nn.Module, passes: Passes) -> None:
    """Count examples through ``network``; backward when a gradient reaches its output."""

    def on_gradient(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def on_forward(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        passes.forward += len(inputs[0])
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(on_gradient)  # type: ignore[no-untyped-call]

    network.register_forward_hook(on_forward)


@contextmanager
def captured(network: nn.Module, paths: tuple[str, ...], *, inputs: bool) -> Iterator[list[Tensor]]:
    """Collect the inputs or outputs of submodules while the block runs a forward pass."""
    seen: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401
        seen.append(args[0] if inputs else output)

    handles = [network.get_submodule(path).register_forward_hook(hook) for path in paths]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class LiveModel:
    """White-box access (also to public and surrogate networks); see ``contracts.Model``.

    Args:
        network: the trained network, without its guard: where ``features`` and ``maps`` are read.
        guarded: what answers; the same object when the defence has no guard.
        victim: names the head and the stages, and builds fresh networks.
        build: makes an untrained network.
        training_loss: the victim's own loss.
        needs: what the attack's manifest asks for; the rest is refused, so that a manifest is true.
    """

    def __init__(
        self,
        network: nn.Module,
        guarded: nn.Module,
        victim: Any,  # noqa: ANN401
        spec: Spec,
        build: Callable[[], nn.Module],
        training_loss: Loss,
        needs: list[str],
    ) -> None:
        self.spec = spec
        self.passes = Passes()
        self._network, self._guarded, self._victim = network, guarded, victim
        self._build, self._training_loss, self._needs = build, training_loss, set(needs)
        freeze(guarded)
        count_passes(guarded, self.passes)

    @property
    def module(self) -> nn.Module:
        """The guarded network itself; needs ``gradients``."""
        self._granted("gradients")
        return self._guarded

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Outputs, without gradients; ``rows`` plays no part where queries are free."""
        with torch.no_grad():
            result: Tensor = self._guarded(x)
        return result

    def left(self) -> Tensor | None:
        """Queries are not limited."""
        return None

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The task's loss ``[B]``; needs ``loss``."""
        self._granted("loss")
        return TASKS[self.spec.task].loss(self._guarded(x), y)

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The victim's own loss ``[B]``; needs ``loss``."""
        self._granted("loss")
        return self._training_loss(self._guarded, x, y)

    def training_loss_of(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The victim's own loss ``[B]`` of outputs that are there already; needs ``loss``."""
        self._granted("loss")
        return self._training_loss(_SAME, outputs, y)

    def features(self, x: Tensor) -> Tensor:
        """The head's input ``[B, D]``; needs ``features``."""
        self._granted("features")
        with captured(self._network, (self._victim.head,), inputs=True) as seen:
            self._guarded(x)
        return seen[-1].flatten(1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stages' outputs, shallow to deep; needs ``maps``."""
        self._granted("maps")
        with captured(self._network, tuple(self._victim.stages), inputs=False) as seen:
            self._guarded(x)
        return list(seen)

    def fresh(self) -> nn.Module:
        """An untrained network of the same architecture."""
        return self._build()

    def _granted(self, need: str) -> None:
        if need not in self._needs:
            raise ContractError(
                f"the attack used model.{'module' if need == 'gradients' else need} but its "
                f"manifest's needs: does not list {need}"
            )


def freeze(network: nn.Module) -> nn.Module:
    """Eval mode, no gradients to parameters; convolutions in channels-last, 1.3 × faster here.

    A network for which that is slower says so: ``memory_format`` of any of its modules.
    """
    network.eval().requires_grad_(False)
    own = (getattr(module, "memory_format", None) for module in network.modules())
    return network.to(memory_format=next(filter(None, own), torch.channels_last))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Eval mode and frozen parameters inside the block, everything as before after it."""
    modes = [(module, module.training) for module in network.modules()]
    grads = [(p, p.requires_grad) for p in network.parameters()]
    network.eval().requires_grad_(False)
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, required in grads:
            parameter.requires_grad_(required)
