"""Stage ``maps``: where a network looks, as a small map for each input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from harness.runtime.contracts import NotApplicable, as_input
from harness.runtime.worker import arrays
from harness.runtime.worker.batches import batches
from harness.runtime.worker.hook_calls import hook_time
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_answers import GuardedNetwork


def maps(job: Job) -> None:
    """Save maps ``[N, h, w]`` of the last stage, one file a mode, on inputs without labels."""
    network = job.trained()
    last = last_stage(network, job.victim.stages)
    guarded = GuardedNetwork(job, network, job.trained)
    raw = job.tensor("x", "x.npy")
    torch.manual_seed(job.ctx.seed("maps"))

    def found(mode: str) -> Iterator[Tensor]:
        for rows in batches(len(raw), job.options.batch):
            x = as_input(raw[rows], job.device)
            with hook_time(job, job.answering_role), recorded(last) as seen, torch.enable_grad():
                outputs = guarded.module(x)
            yield MODES[mode](checked_stage(seen, x), outputs).float()

    for mode in job.options.modes:
        arrays.save_parts(job.out / "maps" / f"{mode}.npy", found(mode), len(raw))


def last_stage(network: nn.Module, stages: tuple[str, ...]) -> nn.Module:
    """Return the module at the last of a victim's stages.

    Raises:
        NotApplicable: the victim names none, or the defence's network lacks it.
    """
    if not stages:
        raise NotApplicable("the victim names no stages, whose last one would be mapped")
    try:
        return network.get_submodule(stages[-1])
    except AttributeError:
        raise NotApplicable(f"the defence's network has no stage {stages[-1]}") from None


@contextmanager
def recorded(stage: nn.Module) -> Iterator[list[Tensor]]:
    """Collect a module's outputs in a block, each as the start of the gradients that reach it.

    The rest of the network gets a copy, because it may write into what it gets.
    """
    seen: list[Tensor] = []

    def hook(_: nn.Module, args: object, output: Tensor) -> Tensor:
        seen.append(output.detach().clone().requires_grad_())
        return seen[-1].clone()

    handle = stage.register_forward_hook(hook, prepend=True)
    try:
        yield seen
    finally:
        handle.remove()


def checked_stage(seen: list[Tensor], x: Tensor) -> Tensor:
    """Return what the last stage answered, ``[B, C, h, w]``.

    Raises:
        NotApplicable: it was not called, or answers no map for each input.
    """
    if not seen:
        raise NotApplicable("the network answers without its last stage")
    if seen[-1].ndim != 4 or len(seen[-1]) != len(x):
        shape = list(seen[-1].shape)
        raise NotApplicable(f"the last stage answers {shape}, which is no map for each input")
    return seen[-1]


def activation(stage: Tensor, outputs: Tensor) -> Tensor:
    """Return the mean over channels of the absolute output; no class plays a part."""
    return stage.detach().abs().mean(dim=1)


def grad_cam(stage: Tensor, outputs: Tensor) -> Tensor:
    """Return Grad-CAM (Selvaraju et al. 2017) of each input's predicted class.

    The channels are weighted by the mean gradient of the class's output, and negative sums are 0.
    """
    if not outputs.requires_grad:
        raise NotApplicable("no gradient reaches the last stage, as Grad-CAM needs")
    chosen = outputs.gather(1, outputs.argmax(dim=1, keepdim=True)).sum()
    (slopes,) = torch.autograd.grad(chosen, stage)
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * stage.detach()).sum(dim=1).relu()


MODES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "activation": activation,
    "grad-cam": grad_cam,
}
"""Mode → map ``[B, h, w]`` of the last stage's output ``[B, C, h, w]`` and logits ``[B, K]``."""
