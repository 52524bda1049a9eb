"""White-box access of attacks to networks: frozen, in eval mode, with passes counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from harness.runtime.contracts import ContractError, Loss, NotApplicable, Spec, Victim
from harness.runtime.tasks import TASKS

NEEDS = ("loss", "features", "maps", "gradients", "weights")
"""Values of a manifest's ``needs``."""


@dataclass
class Passes:
    """Numbers of examples that went through a network.

    Attributes:
        forward: examples in forward passes.
        backward: examples in backward passes.
    """

    forward: int = 0
    backward: int = 0


def count_passes(network: nn.Module, passes: Passes) -> RemovableHandle:
    """Count the examples of every forward pass, and of gradients that reach the output.

    Returns:
        Handle that ends the counting.
    """

    def on_gradient(gradient: Tensor) -> None:
        passes.backward += len(gradient)

    def on_forward(_: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        passes.forward += len(inputs[0])
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(on_gradient)  # type: ignore[no-untyped-call]

    return network.register_forward_hook(on_forward)


@contextmanager
def capture(network: nn.Module, paths: tuple[str, ...], *, inputs: bool) -> Iterator[list[Tensor]]:
    """Collect inputs or outputs of submodules during the forward passes of a block.

    Outputs are collected before other hooks change them, such as those of ``spatial_dropout``.

    Args:
        network: network that contains the submodules.
        paths: names of the submodules.
        inputs: whether to collect their first inputs instead of their outputs.

    Yields:
        List to which each pass adds an entry for each submodule, in the order in which they run;
        clear it between passes.
    """
    seen: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(args[0] if inputs else output)

    with hooks(network, paths, hook, prepend=True):
        yield seen


@contextmanager
def spatial_dropout(network: nn.Module, paths: tuple[str, ...], share: float) -> Iterator[None]:
    """Drop whole channels of submodules' outputs inside a block, in train mode (Tompson 2015).

    Args:
        network: network that contains the submodules.
        paths: names of the submodules, whose outputs are maps ``[B, C, H, W]``.
        share: probability of a channel to be dropped; the others are scaled by 1 / (1 − share).
    """

    def drop(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return F.dropout2d(output, share, module.training)

    with hooks(network, paths, drop) if share else nullcontext():
        yield


@contextmanager
def hooks(
    network: nn.Module, paths: tuple[str, ...], hook: ForwardHook, *, prepend: bool = False
) -> Iterator[None]:
    """Register a forward hook with submodules inside a block.

    Args:
        network: network that contains the submodules.
        paths: names of the submodules.
        hook: function of submodule, inputs and output.
        prepend: whether it runs before the hooks that are there.
    """
    handles = [
        network.get_submodule(path).register_forward_hook(hook, prepend=prepend) for path in paths
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class NoLayers(NotApplicable, AttributeError):
    """Access to a layer where a loss has outputs alone.

    It is an ``AttributeError`` too, as a network without that layer raises, so that a loss that
    does without goes on.
    """

    def __init__(self, layer: object) -> None:
        super().__init__(
            f"the training loss reads {layer!r} of its network, and the attack's call of "
            "model.training_loss_of has outputs alone: it needs model.training_loss(x, y)"
        )


class OutputsAlone(nn.Identity):
    """Network in the place of the one whose outputs are given: it has no layers to read."""

    def get_submodule(self, target: str) -> nn.Module:
        """Refuse all paths but the empty one, which is the network itself."""
        if target:
            raise NoLayers(target)
        return self

    def __getattr__(self, name: str) -> NoReturn:
        raise NoLayers(name)

    def __getitem__(self, layer: object) -> NoReturn:
        raise NoLayers(layer)


ForwardHook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]
"""Forward hook of a submodule; what it returns, unless ``None``, replaces the output."""


class LiveModel:
    """White-box access (also to public and surrogate networks); see ``contracts.Model``.

    Args:
        network: trained network without its guard, from which ``features`` and ``maps`` are read.
        guarded: network that answers; the same object if the defence has no guard.
        victim: module that names the head and the stages.
        spec: description of the data set.
        build: function that returns an untrained network.
        training_loss: loss that the victim or the defence trains with.
        needs: ``needs`` of the attack's manifest; other access raises ``ContractError``.
        headless: whether the last layer is new and untrained, so that outputs are withheld.
    """

    def __init__(
        self,
        network: nn.Module,
        guarded: nn.Module,
        victim: Victim,
        spec: Spec,
        build: Callable[[], nn.Module],
        training_loss: Loss,
        needs: Iterable[str],
        *,
        headless: bool = False,
    ) -> None:
        self.spec = spec
        self.passes = Passes()
        self._network, self._guarded, self._victim = network, guarded, victim
        self._build, self._training_loss, self._needs = build, training_loss, set(needs)
        self._headless = headless
        freeze(guarded)
        self._counting = count_passes(guarded, self.passes)

    def stop_counting(self) -> None:
        """Count no more passes, which costs a call of Python for each."""
        self._counting.remove()

    @property
    def module(self) -> nn.Module:
        """Return the guarded network; needs ``gradients``."""
        self._require("gradients")
        return self._guarded

    @property
    def undefended(self) -> nn.Module:
        """Return the network without a guard; needs ``weights``."""
        self._require("weights")
        return self._network

    def predict(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return outputs without gradients; ``rows`` matters to an oracle only."""
        if self._headless:
            raise NotApplicable(
                "the attack asked model.predict for outputs; the public network is existing "
                "weights with a new last layer, which offer features and maps alone"
            )
        with torch.no_grad():
            result: Tensor = self._guarded(x)
        return result

    def left(self) -> Tensor | None:
        """Return ``None``: queries are not limited."""
        return None

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the task's loss ``[B]``; needs ``loss``."""
        self._require("loss")
        return TASKS[self.spec.task].loss(self._guarded(x), y, self.spec.void)

    def training_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the victim's training loss ``[B]``; needs ``loss``."""
        self._require("loss")
        return self._training_loss(self._guarded, x, y)

    def training_loss_of(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the victim's training loss ``[B]`` of given outputs; needs ``loss``."""
        self._require("loss")
        return self._training_loss(OutputsAlone(), outputs, y)

    def features(self, x: Tensor) -> Tensor:
        """Return the input of the head ``[B, D]``; needs ``features``."""
        self._require("features")
        with capture(self._network, (self._victim.head,), inputs=True) as seen:
            self._guarded(x)
        return seen[-1].flatten(1)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the stages, shallow to deep; needs ``maps``."""
        self._require("maps")
        with capture(self._network, tuple(self._victim.stages), inputs=False) as seen:
            self._guarded(x)
        return list(seen)

    def fresh(self) -> nn.Module:
        """Return an untrained network of the same architecture."""
        return self._build()

    def _require(self, need: str) -> None:
        if need not in self._needs:
            part = {"gradients": "module", "weights": "undefended"}.get(need, need)
            raise ContractError(
                f"the attack used model.{part} but its manifest's needs: does not list {need}"
            )


def freeze(network: nn.Module) -> nn.Module:
    """Set eval mode, disable gradients of parameters, and use the channels-last memory format.

    Channels-last makes convolutions 1.3 times as fast. A network can choose another format by an
    attribute ``memory_format`` of any of its modules.
    """
    network.eval().requires_grad_(False)
    own = (getattr(module, "memory_format", None) for module in network.modules())
    return network.to(memory_format=next(filter(None, own), torch.channels_last))


@contextmanager
def eval_mode(network: nn.Module) -> Iterator[nn.Module]:
    """Set eval mode and freeze the parameters inside a block; restore both after it."""
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
