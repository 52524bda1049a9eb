"""Gradients, norm balls, and straight-through estimates of guards without a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from harness.runtime.contracts import Budget, NotApplicable, Sampler

Radius: TypeAlias = float | Tensor
"""Radius of a ball; in L∞ also one for each channel, ``[C, 1, 1]``, which broadcasts."""


class Ball(NamedTuple):
    """Norm ball around each clean input.

    Attributes:
        norm: ``linf`` or ``l2``.
        eps: radius, in units of [0, 1] pixels; float32 ``[C, 1, 1]`` under a budget with
            ``per_channel``.
    """

    norm: str
    eps: Radius


def ball(budget: Budget, x: Tensor | None = None) -> Ball:
    """Return the ball of a budget; an unbounded one is the L∞ ball of radius 1, all of [0, 1].

    Args:
        budget: the budget.
        x: inputs ``[B, C, H, W]``, for whose channels the radii are, on their device. An attack
            that gives none keeps one radius alone.

    Raises:
        NotApplicable: the budget limits something else, for example a patch; or it has a radius
            for each channel, and no inputs with these channels are given.

    >>> ball(Budget(norm="l2", eps=0.5))
    Ball(norm='l2', eps=0.5)
    >>> ball(Budget(norm="linf", eps=0.5, per_channel=(0.5, 1)), torch.zeros(3, 2, 4, 4)).eps
    tensor([[[0.2500]],
    <BLANKLINE>
            [[0.5000]]])
    """
    if budget.norm is not None and budget.eps is not None:
        return Ball(budget.norm, _radius(budget.eps, budget.per_channel, x))
    if budget.unbounded:
        return Ball("linf", 1.0)
    raise NotApplicable("this attack needs a norm budget (linf or l2)")


def _radius(eps: float, units: tuple[float, ...] | None, x: Tensor | None) -> Radius:
    if units is None:
        return eps
    if x is None:
        raise NotApplicable("this attack has one radius, and the budget one for each channel")
    if x.ndim != 4 or x.shape[1] != len(units):
        found = f"radii of {len(units)} channels, and inputs have the shape {list(x.shape[1:])}"
        raise NotApplicable(f"the budget has {found}")
    return torch.tensor([eps * unit for unit in units], device=x.device).view(-1, 1, 1)


def project(x_adv: Tensor, x: Tensor, norm: str, eps: Radius) -> Tensor:
    """Project inputs onto the ball around ``x`` and onto [0, 1]; return them.

    An L2 result is within ``eps`` when measured in float64, which a plain float32 renormalisation
    is not: on photographs it exceeds eps by up to 3e-5.

    Args:
        x_adv: float32 ``[B, …]``.
        x: clean inputs in [0, 1], of the same shape.
        norm: ``linf`` or ``l2``.
        eps: radius; in L∞ also one for each channel, ``[C, 1, 1]``.

    Raises:
        NotApplicable: another norm.

    >>> project(torch.tensor([[0.9, 0.5]]), torch.tensor([[0.5, 0.5]]), "linf", 0.25)
    tensor([[0.7500, 0.5000]])
    """
    if norm == "linf":
        return torch.minimum(torch.maximum(x_adv, x - eps), x + eps).clamp_(0, 1)
    _check_l2(norm)
    step = x_adv.clamp(0, 1) - x
    lengths = _lengths(step)
    scale = torch.where(lengths > eps, eps / lengths, 1)
    result = (x + step * _rows(scale, step)).clamp_(0, 1)
    # rounding of x + step can leave the ball by an ulp; the last round reaches x itself
    for power in range(23, -1, -1):
        over = _lengths(result.double() - x.double()) > eps
        if not bool(over.any()):
            break
        scale = torch.where(over, scale * (1 - 2.0**-power), scale)
        result = (x + step * _rows(scale, step)).clamp_(0, 1)
    return result


def like_rows(values: Tensor, x: Tensor) -> Tensor:
    """Return values of rows, ``[B]``, in a shape that broadcasts with ``x``, ``[B, …]``.

    >>> like_rows(torch.tensor([1, 2]), torch.zeros(2, 3, 4)).shape
    torch.Size([2, 1, 1])
    """
    return values.reshape(-1, *[1] * (x.ndim - 1))


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Return the direction of steepest ascent, of length 1 in the norm.

    The scale of a row has no effect, however small or large. A row of zeros has no direction and
    stays zero. NaN counts as zero and an infinite entry as the largest finite number: the
    conformance check reports a broken gradient, and the attack's output must stay valid.

    Args:
        gradient: float32 ``[B, …]``.
        norm: ``linf`` or ``l2``.

    >>> steepest(torch.tensor([[3.0, -4.0]]), "linf"), steepest(torch.tensor([[3.0, -4.0]]), "l2")
    (tensor([[ 1., -1.]]), tensor([[ 0.6000, -0.8000]]))
    >>> steepest(torch.tensor([[3e-40, -4e-40], [0.0, 0.0]]), "l2")
    tensor([[ 0.6000, -0.8000],
            [ 0.0000,  0.0000]])
    """
    gradient = gradient.nan_to_num(0)
    if norm == "linf":
        return gradient.sign()
    _check_l2(norm)
    scaled = _normalize_scale(gradient)
    lengths = _lengths(scaled)
    return scaled / _rows(torch.where(lengths > 0, lengths, 1), scaled)


Draw: TypeAlias = Callable[[Sequence[int], Sampler], Tensor]
"""``Context.draw``: random numbers of a shape by a sampler, for the rows of a batch."""


def plain_draw(shape: Sequence[int], sampler: Sampler) -> Tensor:
    """Return the sampler's numbers of a shape, whatever rows they are for."""
    return sampler(shape)


def random_start(
    x: Tensor, norm: str, eps: Radius, generator: torch.Generator, draw: Draw = plain_draw
) -> Tensor:
    """Return inputs drawn uniformly from the ball around ``x``, projected onto [0, 1].

    The numbers are drawn on the generator's device, so that a CPU generator gives every device
    the same ones.

    Args:
        x: clean inputs in [0, 1], float32 ``[B, …]``.
        norm: ``linf`` or ``l2``.
        eps: radius; in L∞ also one for each channel, ``[C, 1, 1]``.
        generator: source of the numbers, on any device.
        draw: ``ctx.draw`` in ``perturb``, so that a row's numbers do not depend on the others.
    """
    source: Any = {"generator": generator, "device": generator.device}
    uniform, normal = partial(torch.rand, **source), partial(torch.randn, **source)
    if norm == "linf":
        noise = draw(x.shape, uniform) * 2 - 1
    else:
        _check_l2(norm)
        noise = draw(x.shape, normal)
        reach = draw((len(x),), uniform)
        reach = reach ** (1 / max(1, x[0].numel()))
        noise = noise * _rows(reach / _lengths(noise).clamp_min(1e-30), noise)
    return project(x + eps * noise.to(x.device), x, norm, eps)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, f: Callable[[Tensor], Tensor]) -> Tensor:
        y = f(x.detach().clone())  # an f that works in place must not reach the caller's input
        if y.shape != x.shape:
            raise ValueError(
                f"straight_through needs f to keep the shape: {list(x.shape)} became "
                f"{list(y.shape)}"
            )
        return y

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return ``f(x)`` with the gradient of the identity (BPDA; Athalye et al., ICML 2018).

    Args:
        f: keeps the shape; need not be differentiable, is never differentiated, and may write
            into the tensor that it gets.
        x: float32, any shape.

    Raises:
        ValueError: ``f`` changes the shape.

    >>> x = torch.tensor([0.2, 0.7], requires_grad=True)
    >>> straight_through(torch.round, x).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """
    result: Tensor = _StraightThrough.apply(x, f)
    return result


def gradient_of(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of ``f(x).sum()`` in ``x``, shaped as ``x``.

    For networks in eval mode, row ``b`` is the gradient of ``f(x)[b]``: no row depends on another.

    Args:
        f: differentiable, ``[B, …]`` to ``[B]``.
        x: float32 ``[B, …]``; left as it is.

    >>> gradient_of(lambda x: x.square().sum(dim=1), torch.tensor([[1.0, 2.0]]))
    tensor([[2., 4.]])
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(f(x).sum(), x)
    return gradient


def zero_share(gradient: Tensor) -> float:
    """Return the share of rows whose gradient is zero or not finite, which no attack can use.

    >>> zero_share(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
    0.5
    """
    flat = gradient.flatten(1)
    useless = (flat == 0).all(dim=1) | ~flat.isfinite().all(dim=1)
    return float(useless.float().mean())


def _lengths(x: Tensor) -> Tensor:
    """Return the L2 length of each row, summed in float64."""
    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=torch.float64)
    return lengths


def _normalize_scale(x: Tensor) -> Tensor:
    """Return each row times a power of two, so that its largest magnitude is from ½ to 1.

    Such a factor rounds nothing, so that the direction of ordinary rows stays the same to the bit.
    It is applied in halves: that of the smallest numbers, 2¹⁴⁸, is not a float32.
    """
    _, exponent = torch.frexp(x.abs().flatten(1).amax(dim=1))
    half = exponent // 2
    for part in (half, exponent - half):
        x = x * _rows(torch.exp2(-part.double()), x)
    return x


def _rows(values: Tensor, like: Tensor) -> Tensor:
    return like_rows(values, like).to(like.dtype)


def _check_l2(norm: str) -> None:
    if norm != "l2":
        raise NotApplicable(f"norm {norm!r} is not known here; linf and l2 are")
