"""DELTA's attention (Li et al., ICLR 2019): a channel's weight by what the task loses with it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Context, Data, Loss, NotApplicable, Victim
from harness.runtime.model import eval_mode, hooks
from harness.runtime.recipe import Recipe, steps_per_epoch

BATCH, BATCHES = 64, 4
"""Examples of a batch, to which the published weight belongs, and batches of a measurement."""

HEAD_EPOCHS, HEAD_MILESTONE = 10, 6
"""Epochs in which the head is trained alone, and the epoch after which its rate falls."""

TEMPERATURE = 5.0
"""Divisor of the standardised scores in the softmax."""


def attention(
    victim: Victim, network: nn.Module, train: Data, loss: Loss, ctx: Context
) -> tuple[tuple[str, ...], list[Tensor]]:
    """Return the last convolution of each stage, and a weight of each of its channels, ``[C]``.

    The head is trained on the frozen trunk first. A channel's score is then the rise of the loss
    when its kernel is zero, and its weight a softmax of the standardised scores of its layer. A
    weighted sum of squared differences, averaged over a batch and over positions, then is the
    published sum over a batch of 64.

    Args:
        victim: the network family.
        network: network as it arrives; it stays as it is.
        train: training set.
        loss: loss of the task, one value per row.
        ctx: context of the training.

    Raises:
        NotApplicable: a stage has no convolution.
    """
    network = copy.deepcopy(network)
    order = torch.randperm(len(train), generator=ctx.generator("attention"))
    batches = [train.take(rows) for rows in order.split(BATCH)[:BATCHES]]
    paths = tuple(last_convolution(network, stage, batches[0][0]) for stage in victim.stages)
    fit_head(victim, network, train, loss, ctx)
    with eval_mode(network), torch.no_grad():
        found = [scores(network, path, loss, batches) for path in paths]
    spread = [(one - one.mean()) / one.std().clamp_min(1e-12) for one in found]
    return paths, [BATCH / 2 * len(u) * torch.softmax(u / TEMPERATURE, dim=0) for u in spread]


def last_convolution(network: nn.Module, stage: str, x: Tensor) -> str:
    """Return the path of the convolution of a stage that runs last."""
    root = network.get_submodule(stage)
    names = {
        module: f"{stage}.{name}".rstrip(".")
        for name, module in root.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    ran: list[str] = []
    with (
        eval_mode(network),
        torch.no_grad(),
        hooks(network, tuple(names.values()), lambda m, i, o: ran.append(names[m])),  # type: ignore[index]
    ):
        network(x)
    if not ran:
        raise NotApplicable(f"attention needs a convolution in each stage, and {stage} has none")
    return ran[-1]


def fit_head(victim: Victim, network: nn.Module, train: Data, loss: Loss, ctx: Context) -> None:
    """Train the head alone; the trunk's batch norm stays as it is, too."""
    network.requires_grad_(False)
    network.get_submodule(victim.head).requires_grad_(True)

    def head_loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return loss(net.eval(), x, y)

    epoch = steps_per_epoch(len(train), BATCH)
    recipe = Recipe(
        steps=HEAD_EPOCHS * epoch, batch=BATCH, lr=0.01, milestones=(HEAD_MILESTONE * epoch,)
    )
    victim.fit(network, train, train, head_loss, ctx, recipe)


def scores(
    network: nn.Module, path: str, loss: Loss, batches: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Return the loss without each channel of a convolution's output, ``[C]``."""
    weight = network.get_parameter(f"{path}.weight")
    found = []
    for kernel in weight:
        kept = kernel.clone()
        kernel.zero_()
        found.append(torch.stack([loss(network, x, y).mean() for x, y in batches]).mean())
        kernel.copy_(kept)
    return torch.stack(found)
