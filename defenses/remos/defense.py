"""ReMoS: erase large weights that the student's images hardly use, then fine-tune."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Adversary, Context, Data, Victim
from harness.runtime.model import eval_mode, hooks, spatial_dropout
from harness.runtime.pruning import Unit, erase, find_units, mark_lowest
from harness.runtime.training import loss_of

COVERED = 0.5
"""Mean of a channel, scaled to [0, 1], above which an image covers it."""

Coverage = tuple[Tensor, Tensor]
"""Images that cover each input channel and each output channel of a convolution."""


class ReMoS:
    """Relevant model slicing (Zhang et al., ICSE 2022), with neuron coverage.

    Args:
        share: share of the convolution weights that is erased.
        passes: steps, as a multiple of the victim's.
        batch: images of a pass while the network is profiled.
        label_smoothing: share of a label that is spread over all classes in fine-tuning.
        dropout: probability with which a channel of a stage is dropped in fine-tuning.
    """

    def __init__(
        self, *, share: float, passes: float, batch: int, label_smoothing: float, dropout: float
    ) -> None:
        self.share, self.passes, self.batch = share, passes, batch
        self.label_smoothing, self.dropout = label_smoothing, dropout

    def fit(
        self,
        victim: Victim,
        network: nn.Module,
        train: Data,
        val: Data,
        adversary: Adversary | None,
        ctx: Context,
    ) -> None:
        units = find_units(network, victim.head)
        scores = rank_difference(list(units.values()), profile(network, units, train, self.batch))
        erase(units, mark_lowest(scores, self.share), ctx.log)
        recipe = victim.recipe(train)
        steps = max(1, round(self.passes * recipe.steps))
        recipe = replace(recipe, steps=steps, label_smoothing=self.label_smoothing)
        loss = loss_of(victim, train.spec, self.label_smoothing)
        with spatial_dropout(network, tuple(victim.stages), self.dropout):
            victim.fit(network, train, val, loss, ctx, recipe)


def profile(network: nn.Module, units: dict[str, Unit], data: Data, batch: int) -> list[Coverage]:
    """Return how many images cover the channels of each convolution.

    Args:
        network: network of the convolutions; it is profiled in eval mode.
        units: convolutions by path.
        data: images, which are not augmented.
        batch: images of a pass.
    """
    zero = torch.zeros((), dtype=torch.int64, device=data.device)
    seen = {unit.conv: (zero, zero) for unit in units.values()}

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        before, after = seen[module]  # the convolution's own output, before batch norm
        seen[module] = before + covered(inputs[0]), after + covered(output)

    with hooks(network, tuple(units), add, prepend=True), eval_mode(network), torch.no_grad():
        for x, _ in data.batches(batch):
            network(x)
    return [
        (before.expand(conv.in_channels), after.expand(conv.out_channels))
        for conv, (before, after) in seen.items()
    ]


def covered(maps: Tensor) -> Tensor:
    """Return how many images cover each channel, int64 ``[C]``.

    Args:
        maps: ``[B, C, H, W]``. Each image's are scaled to [0, 1] by their own least and largest
            value; maps of one value cover nothing.
    """
    low = maps.amin(dim=(1, 2, 3)).unsqueeze(1)
    high = maps.amax(dim=(1, 2, 3)).unsqueeze(1)
    tiny = torch.finfo(maps.dtype).tiny
    scaled = (maps.mean(dim=(2, 3)) - low) / (high - low).clamp_min(tiny)
    return (scaled > COVERED).sum(dim=0)


def rank_difference(units: list[Unit], coverage: list[Coverage]) -> list[Tensor]:
    """Return rank by coverage minus rank by size, int64 in the shapes of the weights.

    The weights between one input channel and one output channel are a slice and share its rank:
    the number of weights in slices of less coverage, or of the same and further ahead in the
    network.
    """
    weights = [unit.conv.weight.detach() for unit in units]
    slices = [
        slice_coverage(unit.conv, *found) for unit, found in zip(units, coverage, strict=True)
    ]
    sizes = [torch.full_like(one, w[0, 0].numel()) for one, w in zip(slices, weights, strict=True)]
    by_coverage = ranks(flat(slices), flat(sizes)).split([one.numel() for one in slices])
    by_size = ranks(flat([w.abs() for w in weights])).split([w.numel() for w in weights])
    return [
        covered.view(*w.shape[:2], 1, 1) - size.view_as(w)
        for covered, size, w in zip(by_coverage, by_size, weights, strict=True)
    ]


def slice_coverage(conv: nn.Conv2d, inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the coverage of a convolution's slices, ``[O, I / groups]``.

    An output channel of a grouped convolution reads the input channels of its group only.
    """
    groups = conv.groups
    total = outputs.reshape(groups, -1, 1) + inputs.reshape(groups, 1, -1)
    return total.flatten(0, 1)


def ranks(values: Tensor, sizes: Tensor | None = None) -> Tensor:
    """Return how many lie below each value, equal ones in order, int64 ``[N]``.

    Args:
        values: ``[N]``.
        sizes: int64 ``[N]``, how many each value stands for; default one.
    """
    order = values.argsort(stable=True)
    sizes = torch.ones_like(order) if sizes is None else sizes
    found = torch.empty_like(order)
    found[order] = sizes[order].cumsum(dim=0) - sizes[order]
    return found


def flat(tensors: list[Tensor]) -> Tensor:
    """Return all entries, ``[N]``."""
    return torch.cat([tensor.flatten() for tensor in tensors])
