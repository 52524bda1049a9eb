"""Weights of a student: drawn anew, or pulled to where they start."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from harness.runtime.contracts import Context, Spec, Victim
from harness.runtime.training import seed_globally

Penalty = Callable[[], Tensor]
"""``penalty()``: the term of the loss, a scalar, for the weights as they are."""


def reset(network: nn.Module, victim: Victim, spec: Spec, ctx: Context) -> None:
    """Draw all weights anew and clear batch-norm statistics.

    Layers get the framework's own initialisation, as published; what belongs to no such layer, the
    victim's.
    """
    seed_globally(ctx.seed("reset"), ctx.device)
    network.load_state_dict(victim.build(spec).state_dict())
    for module in network.modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw):
            draw()


def pull_to_start(
    network: nn.Module, head: str, alpha: float, beta: float, *, with_head: bool
) -> list[Penalty]:
    """Return L2-SP's terms (α/2) · ‖θ − θ_start‖² and (β/2) · ‖head‖², without those that are 0.

    Args:
        network: network at its start.
        head: path of the head.
        alpha: weight of the distance from the start.
        beta: weight of the head's size.
        with_head: whether θ has the head, too.
    """
    last = list(network.get_submodule(head).parameters())
    own = set(last)
    pulled = [p for p in network.parameters() if with_head or p not in own]
    pairs = [(p, p.detach().clone()) for p in pulled]
    found: list[Penalty] = []
    if alpha:
        found.append(lambda: alpha / 2 * square_sum([p - start for p, start in pairs]))
    if beta:
        found.append(lambda: beta / 2 * square_sum(last))
    return found


def square_sum(tensors: list[Tensor]) -> Tensor:
    """Return the sum of squares of all elements."""
    total: Tensor = sum(tensor.square().sum() for tensor in tensors)  # type: ignore[assignment]
    return total
