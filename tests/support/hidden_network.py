"""A network as it is across a process boundary: a forward pass, and nothing to hold on to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class _Across(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            ctx.inside = x.detach().clone().requires_grad_()
            ctx.outside = run(ctx.inside)
        return ctx.outside.detach().clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (found,) = torch.autograd.grad(ctx.outside, ctx.inside, gradient.clone(), retain_graph=True)
        return found.clone(), None


class HiddenNetwork(nn.Module):
    """A module without parameters, buffers or parts, whose gradient is of first order."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.run = lambda x: network(x)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            result: Tensor = _Across.apply(x, self.run)
            return result
        with torch.no_grad():
            return self.run(x.clone()).clone()
