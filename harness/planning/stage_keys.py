"""Keys of stages: digests of all that decides a stage's result, made before it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from harness.common.keys import (
    KEY_VERSION,
    canonical_json,
    code_digest,
    environment_digest,
    runtime_digest,
)
from harness.config.environments import Environments
from harness.planning.recipe import Recipe, StageRecipe

HOST_CODE: dict[str, tuple[str, ...]] = {
    "data": ("datasets/fraction.py", "datasets/hashing.py"),
    "slice": (
        "running/host_stages.py",
        "runtime/crops.py",
        "datasets/published.py",
        "planning/places.py",
    ),
    "goal": ("running/host_stages.py",),
    "clean": ("running/host_stages.py", "runtime/crops.py"),
    "apply": (
        "running/host_stages.py",
        "runtime/crops.py",
        "config/budget.py",
        "judge/budget.py",
        "judge/edits.py",
        "judge/overlay.py",
        "running/overlays.py",
    ),
    "measure": (
        "running/host_stages.py",
        "judge/budget.py",
        "judge/common.py",
        "judge/similarity.py",
    ),
    "decide": ("running/votes.py", "judge/smoothing.py"),
    "strongest": ("running/strongest.py", "judge/budget.py"),
    "survivors": ("running/hand_over.py", "judge/classification.py", "judge/draws.py"),
    "merge": ("running/hand_over.py", "running/strongest.py"),
    "weights": ("planning/weights.py",),
    "file": ("running/copy_file.py",),
}
"""Kind → files of the harness that decide the result; their digest is in the stage's key."""

HOST = frozenset(HOST_CODE)
"""Kinds of stages that run in the harness itself, without module code."""


class StageKeys:
    """Maker of stage keys for one device.

    Args:
        device: ``cpu`` or ``cuda``.
        environments: what is installed where modules run; by default the local environment.
    """

    def __init__(self, device: str, environments: Environments | None) -> None:
        self._environments = environments
        self._host_code = {kind: code_digest(names) for kind, names in HOST_CODE.items()}
        self._base = {
            "version": KEY_VERSION,
            "device": device,
            "runtime": runtime_digest(),
        }
        self._heads: dict[tuple[str, str], bytes] = {}

    def make(self, kind: str, inputs: Mapping[str, tuple[str, str]], recipe: Recipe) -> str:
        """Return the SHA-256 of a stage's kind, code, environment, inputs and recipe.

        Args:
            kind: kind of the stage.
            inputs: name → key and part of another stage.
            recipe: all else that decides the result.
        """
        text = b"%b,%b,%b]" % (
            self._head(kind, recipe),
            canonical_json(inputs),
            canonical_json(recipe.to_json()),
        )
        return hashlib.sha256(text).hexdigest()

    def _head(self, kind: str, recipe: Recipe) -> bytes:
        """Return the encoded beginning of [kind, base, inputs, recipe], which many stages share."""
        environment = ""
        if isinstance(recipe, StageRecipe):
            known = self._environments
            refs = (ref.module for ref in recipe.modules.values())
            environment = environment_digest() if known is None else known.key(refs)
        if (kind, environment) not in self._heads:
            base = self._base | {"environment": environment}
            if kind in HOST:
                base = {"version": KEY_VERSION, "code": self._host_code[kind]}
            self._heads[kind, environment] = canonical_json([kind, base]).removesuffix(b"]")
        return self._heads[kind, environment]
