"""Families of attacks: how an attack looks for errors of a network, read from its manifest."""

from __future__ import annotations

from collections.abc import Callable

from harness.config.manifest import Manifest

_FAMILIES: tuple[tuple[str, Callable[[Manifest], bool]], ...] = (
    ("delivered network", lambda m: "deliver" in m.hooks),
    ("trigger in training data", lambda m: {"poison", "trigger"} <= set(m.hooks)),
    ("edits chosen by a model", lambda m: "poison" in m.hooks and bool(m.needs)),
    ("edits without a model", lambda m: "poison" in m.hooks),
    ("learned perturbation", lambda m: "learn" in m.hooks and m.no_model_access),
    ("gradient search", lambda m: bool({"loss", "gradients"} & set(m.needs))),
    ("inner features", lambda m: bool({"features", "maps"} & set(m.needs))),
)
"""THE table of families: name → whether a manifest is of it. The first row that fits counts."""

QUERIES = "search by queries"
"""The family of attacks that ask the network for its outputs, and for nothing else."""


def attack_family(manifest: Manifest) -> str:
    """Return the family of an attack that is no control.

    Args:
        manifest: the attack's manifest.
    """
    return next((name for name, fits in _FAMILIES if fits(manifest)), QUERIES)
