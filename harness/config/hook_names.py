"""Kinds of modules and the names of their hooks."""

from __future__ import annotations

from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["attack", "defense", "victim"]

# Equal to runtime.hooks.HOOKS, which config does not import; a test compares the two.
HOOK_NAMES: dict[Kind, tuple[str, ...]] = {
    "attack": ("learn", "perturb", "poison", "trigger", "deliver"),
    "defense": ("build", "sanitize", "fit", "loss", "repair", "guard"),
    "victim": ("build", "loss", "recipe", "fit", "import_weights"),
}
REQUIRED_HOOKS: dict[Kind, tuple[str, ...]] = {
    "attack": (),
    "defense": (),
    "victim": ("build", "recipe"),
}
