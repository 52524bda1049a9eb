"""Which role answers for a stage that did not end well, where its worker did not say or may not.

A worker names the role whose code raised. A stage that was stopped, killed or left the wrong files
has no such word; then the kind of stage decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.config.threat import By
from harness.storage.store import TRANSIENT

ANSWERS: Mapping[str, tuple[By, ...]] = {
    "import": ("victim",),
    "public": ("victim",),
    "train": ("defense", "victim"),
    "sanitize": ("defense",),
    "repair": ("defense",),
    "poison": ("attack",),
    "deliver": ("attack",),
    "learn": ("attack",),
    "attack": ("attack",),
    "predict": ("defense", "victim"),
    "oracle": ("defense", "victim"),
    "gradients": ("defense", "victim"),
    "inspect": ("attack", "defense", "victim"),
}
"""THE table of answers: stage kind → roles; the first that takes part in the stage answers."""

ROLES: tuple[By, ...] = ("victim", "defense", "attack")
"""What a worker may name; rules are the plan's, and no stage speaks for the harness."""


def claimed(by: object, roles: Collection[str]) -> By | None:
    """Return the role that a worker names, or ``None`` where it takes no part in the stage."""
    return next((role for role in ROLES if role == by and role in roles), None)


def responsible(kind: str, roles: Collection[str], status: str, claim: By | None) -> By:
    """Return what a failed stage is put down to.

    Args:
        kind: of the stage.
        roles: of the modules that take part in it.
        status: what it ended in, other than ``ok``.
        claim: the role that its worker named, or the host stage's own word.
    """
    if status in TRANSIENT:
        return "harness"
    if claim is not None:
        return claim
    return next((role for role in ANSWERS.get(kind, ()) if role in roles), "harness")
