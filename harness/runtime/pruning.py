"""Pruning of convolutions: which of their weights or channels score lowest, and what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.runtime.contracts import Data, NotApplicable
from harness.runtime.kernels import share_of
from harness.runtime.model import eval_mode, hooks


@dataclass(frozen=True)
class Unit:
    """Convolution with the batch norm behind it.

    Attributes:
        conv: the convolution.
        norm: its batch norm, or ``None``.
        output: path of the later one of the two.
    """

    conv: nn.Conv2d
    norm: nn.BatchNorm2d | None
    output: str

    def tensors(self) -> list[nn.Parameter]:
        """Return the parameters, whose first axis is that of the output's channels."""
        layers = (self.conv,) if self.norm is None else (self.conv, self.norm)
        return [tensor for layer in layers for tensor in layer.parameters(recurse=False)]

    @torch.no_grad()
    def silence(self, channels: Tensor) -> None:
        """Zero channels' kernels, biases, scales and shifts.

        Args:
            channels: int64 ``[P]``, their numbers.
        """
        for tensor in self.tensors():
            tensor[channels] = 0


def find_units(network: nn.Module, head: str) -> dict[str, Unit]:
    """Return the convolutions outside the head, by path, in the order of registration.

    A batch norm belongs to the convolution before it if their channels are equally many.

    Args:
        network: network; its convolutions are ``nn.Conv2d``.
        head: path of the last layer, which is new in a student.

    Raises:
        NotApplicable: there is no convolution.
    """
    found: dict[str, Unit] = {}
    before: str | None = None
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and not f"{path}.".startswith(f"{head}."):
            found[path] = Unit(module, None, path)
            before = path
        elif isinstance(module, nn.BatchNorm2d) and before is not None:
            conv = found[before].conv
            if module.num_features == conv.out_channels:
                found[before] = Unit(conv, module, path)
            before = None
    if not found:
        raise NotApplicable("the network has no convolution outside its last layer")
    return found


def mark_lowest(scores: Sequence[Tensor], share: float, spared: float = 0.0) -> list[Tensor]:
    """Return bool masks of the entries that score lowest, all tensors ranked together.

    The limit is the score at position ⌊share · N⌋ in ascending order, and all entries up to it are
    marked: ⌊share · N⌋ + 1 of them if scores are distinct, more where some are equal to the limit.

    Args:
        scores: scores of ``N`` entries in all.
        share: share that is marked; 0 marks none.
        spared: share below it that is not, so that a band is marked. The bands of
            ``spared = 0`` and ``spared = a`` make up that of both shares, without overlap.

    Raises:
        ValueError: the shares are not in [0, 1), or their sum is not.
        ArithmeticError: a score is not finite.
    """
    if min(spared, share) < 0 or spared + share >= 1:
        raise ValueError(f"share {share} above {spared}: expected a band inside [0, 1)")
    flat = torch.cat([score.flatten() for score in scores])
    if not bool(flat.isfinite().all()):
        raise ArithmeticError("the scores of weights are not finite")
    if share == 0:
        return [torch.zeros_like(score, dtype=torch.bool) for score in scores]

    def limit(part: float) -> Tensor:
        return flat.kthvalue(share_of(len(flat), part) + 1).values

    high = limit(spared + share)
    if spared == 0:
        return [score <= high for score in scores]
    low = limit(spared)
    return [(score > low) & (score <= high) for score in scores]


@torch.no_grad()
def erase(units: Mapping[str, Unit], masks: Iterable[Tensor], log: Callable[[str], None]) -> None:
    """Zero weights of convolutions, and log how many, and which layers are left without one.

    A batch norm behind a kernel without weights divides by almost nothing, so that the kernel's
    first gradients are large: the log counts such kernels.

    Args:
        units: convolutions by path.
        masks: bool masks of their weights, in the same order.
        log: function that writes a line.

    Raises:
        NotApplicable: no weight would be left in the whole network.
    """
    masks = list(masks)
    erased, total = sum(int(mask.sum()) for mask in masks), sum(mask.numel() for mask in masks)
    if erased == total:
        raise NotApplicable("all weights of convolutions score alike, so the rule erases them all")
    bare = kernels = 0
    empty = []
    for (path, unit), mask in zip(units.items(), masks, strict=True):
        unit.conv.weight[mask] = 0
        dead = (unit.conv.weight == 0).flatten(1).all(dim=1)
        bare, kernels = bare + int(dead.sum()), kernels + len(dead)
        if bool(dead.all()):
            empty.append(path)
    log(f"{erased} of {total} weights of convolutions erased")
    if bare:
        log(f"{bare} of {kernels} kernels have no weight left")
    if empty:
        log(f"no weight is left in {', '.join(empty)}")


def activity(network: nn.Module, units: Iterable[Unit], data: Data, batch: int) -> list[Tensor]:
    """Return the mean activity of the channels of convolutions, after ReLU, ``[C]`` for each.

    The mean is over images and positions, in eval mode. What a residual block adds to a channel is
    not counted, as it is not the convolution's.

    Args:
        network: the network of the convolutions.
        units: convolutions with their batch norms.
        data: images; they are not augmented.
        batch: images of a forward pass.
    """
    units = list(units)
    paths = tuple(unit.output for unit in units)
    sums = {network.get_submodule(path): torch.zeros((), device=data.device) for path in paths}

    def add(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        sums[module] = sums[module] + output.relu().mean(dim=(2, 3)).sum(dim=0)

    with hooks(network, paths, add, prepend=True), eval_mode(network), torch.no_grad():
        for x, _ in data.batches(batch):
            network(x)
    return [
        (total / len(data)).expand(unit.conv.out_channels)
        for unit, total in zip(units, sums.values(), strict=True)
    ]
