"""Bundled data in a form that a module takes, from what its manifest requires."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from harness.config.field_types import MOST_SIDE
from harness.config.manifest import Manifest
from harness.config.manifest_parts import Requirement, matches
from harness.datasets import BUNDLED, find
from harness.datasets.bundled.fitted import Form, fitted_name, own_form

__all__ = ["Form", "choose_form", "data_name", "split_sizes"]


def choose_form(
    manifest: Manifest, params: Mapping[str, object], base: str, *, largest: bool = False
) -> Form:
    """Choose the form of a bundled set that a module takes, as near to the set's own as can be.

    Args:
        manifest: manifest of the module.
        params: its parameters, which decide what of ``requires`` counts.
        base: name of the bundled set.
        largest: whether to choose the largest side that the manifest lists, else the smallest.
    """
    needed = [one for one in manifest.requires if matches(one.when, params)]
    own = own_form(BUNDLED[base])
    sides = list_sides(needed, max(own.height, own.width))
    height, width = own.height, own.width
    if sides and (largest or not fits(needed, (height, width))):
        height = width = sides[-1 if largest else 0]
    return Form(
        nearest([one.channels for one in needed], own.channels),
        height,
        width,
        nearest([one.classes for one in needed], own.outputs),
    )


def data_name(base: str, form: Form) -> str:
    """Return the name of a bundled set in a form."""
    return fitted_name(BUNDLED[base], form)


def split_sizes(name: str) -> tuple[int, int]:
    """Return the number of validation and of test examples of a bundled set, in any form."""
    found = find(name)
    assert found is not None
    assert found.facts is not None
    return found.facts.val, found.facts.test


def list_sides(needed: Sequence[Requirement], least: int) -> list[int]:
    """List the sides in pixels that requirements name together, in order.

    Where they name none, it is the first that keeps the others and is no less than ``least``.

    >>> list_sides([Requirement(side=(224, 32)), Requirement(side_min=8)], 8)
    [32, 224]
    >>> list_sides([Requirement(side_min=7), Requirement(side_multiple=16)], 8)
    [16]
    """
    named = {side for one in needed for side in one.side}
    if not named:
        step = math.lcm(*(one.side_multiple or 1 for one in needed))
        least = max(least, *(one.side_min or 1 for one in needed), 1)
        named = {math.ceil(least / step) * step}
    return sorted(side for side in named if side <= MOST_SIDE and fits(needed, (side,)))


def fits(needed: Iterable[Requirement], sides: Iterable[int]) -> bool:
    """Return whether requirements allow each of some sides."""
    return all(one.takes_side(side) for one in needed for side in sides)


def nearest(named: Sequence[Sequence[int]], own: int) -> int:
    """Return ``own`` if every list that is not empty has it, else the smallest that all have.

    >>> nearest([(3, 1), ()], 1), nearest([(20, 30), (30,)], 10), nearest([(2,), (3,)], 1)
    (1, 30, 1)
    """
    lists = [set(values) for values in named if values]
    common = set.intersection(*lists) if lists else {own}
    return own if own in common or not common else min(common)
