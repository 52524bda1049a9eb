"""Attribution of failed stages to a role, where the worker did not or may not name one.

A worker names the role whose code raised. A stage that was stopped, was killed or left the wrong
files has no such claim; then the kind of stage decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.common.status import TRANSIENT, By, Status

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
    "votes": ("defense", "victim"),
    "maps": ("defense", "victim"),
    "probe": ("defense", "victim"),
    "service": ("defense", "victim"),
    "applies": ("victim",),
    "gradients": ("defense", "victim"),
    "probe_network": ("defense", "victim"),
    "probe_attack": ("attack",),
    "inspect": ("attack", "defense", "victim"),
}
"""Table of responsible roles by stage kind: the first that takes part in the stage. A service, the
process with the network that an attack asks, has a row of its own, whatever its stage is called."""

ROLES: tuple[By, ...] = ("victim", "defense", "attack")
"""Roles that a worker may name; only the plan names a rule, and only the host the harness."""


def accept_claim(by: object, roles: Collection[str]) -> By | None:
    """Return the role that a worker names, or ``None`` where it takes no part in the stage."""
    return next((role for role in ROLES if role == by and role in roles), None)


def responsible(kind: str, roles: Collection[str], status: Status, claim: By | None) -> By:
    """Return the party that a failed stage is attributed to.

    Args:
        kind: kind of the stage.
        roles: roles of the modules that take part in it.
        status: status that it ended in, other than ``ok``.
        claim: party that its worker or the host stage named, or ``None``.
    """
    if status in TRANSIENT:
        return "harness"
    if claim is not None:
        return claim
    return next((role for role in ANSWERS.get(kind, ()) if role in roles), "harness")
