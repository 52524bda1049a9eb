"""Resolved entries of a matrix: modules with parameters, as they enter keys and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from harness.config.catalog import Module
from harness.config.field_types import Limit, Value
from harness.config.manifest import Manifest
from harness.config.manifest_parts import matches
from harness.planning.recipe import FileRecipe, ModuleRef, WeightsRecipe

MINIMAL = "minimal_"
"""Beginning of the limits of attacks that look for the nearest wrong input; the norm follows."""


@dataclass(frozen=True)
class ResolvedEntry:
    """Entry of a matrix whose module is found and whose parameters are resolved.

    Attributes:
        module: the module.
        label: label of the row.
        params: every parameter with its value.
        adversary: the attack that a defence trains against, or ``None``.
        budget: an adversary's own budget; ``None`` for all others.
        weights: a victim's existing weights, or ``None``.
        fine_tunes: whether training starts from the weights; else they take its place.
        released: name of the weights that a defence's entry puts in the place of the victim's
            network, or ``None``.
        files: parameter → the benchmark's own file or folder that is its value.
        absent: why such a file is missing here, or ``None``.
    """

    module: Module
    label: str
    params: Mapping[str, Value]
    adversary: ResolvedEntry | None = None
    budget: Mapping[str, Limit] | None = None
    weights: WeightsRecipe | None = None
    fine_tunes: bool = False
    released: str | None = None
    files: Mapping[str, FileRecipe] = field(default_factory=dict)
    absent: str | None = None

    @property
    def manifest(self) -> Manifest:
        """Manifest of the module."""
        return self.module.manifest

    @property
    def name(self) -> str:
        """Name of the module, whatever the row's label."""
        return self.module.manifest.name

    @cached_property
    def ref(self) -> ModuleRef:
        """Part of the entry that enters a key and a job."""
        params = self.params
        if self.files:  # in keys a file is its content, whatever its name
            params = {**params, **{name: file.reference for name, file in self.files.items()}}
        return ModuleRef(self.module.ref, self.module.digest, params, self.budget)

    @cached_property
    def limits(self) -> frozenset[str]:
        """Limits that an attack keeps with these parameters."""
        needed = (one for one in self.manifest.requires if matches(one.when, self.params))
        return frozenset(limit for one in needed for limit in one.limits)

    @property
    def noise(self) -> float | None:
        """Standard deviation of the noise under which a defence's network votes, if it does."""
        name = self.manifest.smoothing
        return None if name is None else float(self.params[name])

    @property
    def members(self) -> tuple[ResolvedEntry, ...]:
        """Itself: an attack is one where others are several in order."""
        return (self,)

    @property
    def pretrained(self) -> bool:
        """Whether existing weights take the place of the victim's training."""
        return self.weights is not None and not self.fine_tunes

    @property
    def clean_form(self) -> ResolvedEntry | None:
        """The attack with the parameters that its manifest calls clean, if it names some."""
        form = self.manifest.clean_form
        if not form:
            return None
        params = self.manifest.resolve(None, {**self.params, **form})
        files = {name: file for name, file in self.files.items() if name not in form}
        return replace(self, label=f"{self.label} (clean form)", params=params, files=files)

    def uses(self, *hooks: str) -> bool:
        """Return whether the module has one of the hooks and uses it with these parameters."""
        return any(self.module.manifest.uses(hook, self.params) for hook in hooks)


@dataclass(frozen=True)
class HandOver:
    """Attacks in order as one attack: each gets the examples that still stand.

    Attributes:
        label: name of the ensemble.
        members: the attacks.
    """

    label: str
    members: tuple[ResolvedEntry, ...]

    @property
    def name(self) -> str:
        """The label: it has no module of its own."""
        return self.label


@dataclass(frozen=True)
class Ensemble:
    """Derived row: an example counts as robust only if every member fails on it.

    Attributes:
        label: name of the ensemble.
        members: labels of its attacks.
    """

    label: str
    members: tuple[str, ...]

    @property
    def name(self) -> str:
        """The label: an ensemble has no module."""
        return self.label
