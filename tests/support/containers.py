"""What tests ask the engine about containers of ours."""

from contextlib import closing

from harness.executors.docker import LABEL, OWNER
from harness.executors.images import Images

STRANGERS: set[str] = set()
"""Harnesses that were at work before the tests began: a benchmark may run beside them."""


def ours():
    """Containers that a run of the tests has made and that are still there, in whatever state."""
    return [one for one in _made() if one.labels.get(OWNER) not in STRANGERS]


def tell_apart():
    """Take the harnesses that have containers now for strangers."""
    STRANGERS.update(one.labels.get(OWNER, "") for one in _made())


def _made():
    with closing(Images.connect()) as engine:
        # one that goes while they are listed is none of them
        return engine.client.containers.list(
            all=True, filters={"label": LABEL}, ignore_removed=True
        )
