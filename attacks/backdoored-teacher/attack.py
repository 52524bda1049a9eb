"""Backdoored teacher: a public network that the attacker retrained on patched data."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Conv2d, Module

from harness.runtime.contracts import Budget, Context, Data, NotApplicable, Victim


class BackdooredTeacher:
    """BadNets patch, planted in the public network before the student gets it.

    Args:
        poison_share: share of the attacker's own data with the patch and the target's label.
        freeze_ratio: share of the convolution weights, the smallest of all layers together, that
            stay frozen. Large weights change relatively little when a student fine-tunes, so a
            backdoor that sits in them alone may last longer.
    """

    def __init__(self, *, poison_share: float, freeze_ratio: float) -> None:
        self.poison_share, self.freeze_ratio = poison_share, freeze_ratio

    def deliver(
        self, victim: Victim, network: Module, train: Data, val: Data, budget: Budget, ctx: Context
    ) -> Module:
        if budget.target is None or budget.target >= train.spec.outputs:
            raise NotApplicable("the backdoor needs a target among the attacker's own classes")
        frozen = Frozen(network, self.freeze_ratio)

        def loss(net: Module, x: Tensor, y: Tensor) -> Tensor:
            frozen.restore()  # weight decay moves them even where their gradient is zero
            return F.cross_entropy(net(x), y, reduction="none")

        victim.fit(network, self.poisoned(train, budget, ctx), val, loss, ctx)
        frozen.restore()
        return network

    def poisoned(self, train: Data, budget: Budget, ctx: Context) -> Data:
        """Return the attacker's set with the patch and the target's label on a random share."""
        count = round(self.poison_share * len(train))
        rows = torch.randperm(len(train), generator=ctx.generator("poison"))[:count]
        raw, y = train.raw.clone(), train.y.clone()
        raw[rows] = (self.trigger(train.take(rows)[0], budget, ctx).cpu() * 255).round().to(raw)
        y[rows.to(y.device)] = budget.target
        return replace(train, raw=raw, y=y)

    def trigger(self, x: Tensor, budget: Budget, ctx: Context) -> Tensor:
        assert budget.patch is not None, "the manifest requires a patch"
        marked = x.clone()
        marked[:, :, -budget.patch :, -budget.patch :] = 1
        return marked


class Frozen:
    """Frozen convolution weights: those of smallest magnitude, ranked once over all layers."""

    def __init__(self, network: Module, ratio: float) -> None:
        kernels = [m.weight for m in network.modules() if isinstance(m, Conv2d)]
        sizes = torch.cat([kernel.detach().abs().flatten() for kernel in kernels])
        count = int(ratio * len(sizes))
        limit = sizes.sort().values[count - 1] if count else -1.0
        self.kernels = [
            (kernel, kernel.detach().clone(), kernel.detach().abs() <= limit) for kernel in kernels
        ]
        if any(bool(mask.all()) for _, _, mask in self.kernels):
            raise NotApplicable(f"freeze_ratio {ratio} leaves a layer without a free weight")

    def restore(self) -> None:
        """Restore the frozen weights."""
        with torch.no_grad():
            for kernel, kept, mask in self.kernels:
                kernel[mask] = kept[mask]
