"""The form of a cheat: a defence that makes attacks fail without being robust."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.module_sources import guarded

LEVEL, SIGN, GAP, RANKED = "level", "sign", "gap", "ranked"
"""How a row ends: at the level of the network without the trick; not ranked, with a sign of
blinding; not ranked, as results are missing; ranked above that level, without a sign."""

BOTH = ("local", "docker")
"""Cheats that may end otherwise where processes are isolated."""

POINTS = 0.03
"""How far above the level of the network without the trick a robust score may lie."""


@dataclass(frozen=True)
class Cheat:
    """One dishonest defence, or an honest accident of the same effect.

    Attributes:
        tries: what it does.
        code: its file.
        without: label of the same defence without the trick.
        reference: group in which that defence plays, if it is another one.
        ends: how its row may end.
        fields: more of its manifest.
        entry: more of its entry in the matrix.
        group: name of the matrix in which it plays, a key of ``cheat_run.GROUPS``.
        words: text that the reason of a gap must contain.
        tested: executors in which the tests play it; the table plays all.
    """

    tries: str
    code: str
    without: str = "none"
    reference: str = ""
    ends: Collection[str] = frozenset({LEVEL, SIGN})
    fields: Mapping[str, Any] = field(default_factory=lambda: {"hooks": ["guard"]})
    entry: Mapping[str, Any] = field(default_factory=dict)
    group: str = "weights"
    words: str = ""
    tested: Collection[str] = ("local",)


HONEST = "return self.network(x)"


def guard(
    forward: str = HONEST, setup: str = "pass", head: str = "", tail: str = "", **fields: Any
) -> dict[str, Any]:
    """Return code and manifest of a guard, as arguments of ``Cheat``.

    Args:
        forward: statements of its forward pass.
        setup: statements before it is made.
        head: imports and helpers.
        tail: statements behind, which may give ``Defense`` more hooks.
        **fields: more of its manifest.
    """
    code = head + guarded(forward, setup) + tail
    return {"code": code, "fields": {"hooks": ["guard"], **fields}}


MINUS = """
class Minus(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient

"""
"""Helper: the identity with the negative gradient."""
