"""A module in a role of a matrix: what enters keys and jobs of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.config.catalog import Module


@dataclass(frozen=True)
class Subject:
    """A module in a role, with its resolved parameters and its row's label.

    Attributes:
        weights: a victim's existing weights (recipe of the ``weights`` stage), or ``None``.
        starts: its training starts from them, where else they take its place.
    """

    module: Module | None
    label: str
    params: dict[str, Any]
    adversary: Subject | None = None
    budget: dict[str, Any] | None = None
    members: tuple[str, ...] = ()
    weights: dict[str, Any] | None = None
    starts: bool = False

    @classmethod
    def ensemble(cls, label: str, members: tuple[str, ...]) -> Subject:
        """A derived row: the worst of its members."""
        return cls(None, label, {}, members=members)

    @property
    def name(self) -> str:
        """The module's name, whatever its row is called; an ensemble's is its label."""
        return self.module.manifest.name if self.module is not None else self.label

    @cached_property
    def ref(self) -> dict[str, Any]:
        """What of the module enters a key and a job."""
        assert self.module is not None
        ref: dict[str, Any] = {
            "module": self.module.ref,
            "digest": self.module.digest,
            "params": self.params,
        }
        return ref if self.budget is None else ref | {"budget": self.budget}

    @property
    def given(self) -> bool:
        """Whether the victim comes trained."""
        return self.weights is not None and not self.starts

    def has(self, *hooks: str) -> bool:
        """Return whether the module has one of the hooks and uses it with these parameters."""
        return self.module is not None and any(
            self.module.manifest.uses(hook, self.params) for hook in hooks
        )
