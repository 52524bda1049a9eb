"""What tests ask the engine about what is ours."""

from contextlib import closing

from harness.executors.docker import LABEL, OWNER
from harness.executors.image_sweep import BUILD
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


def everything(engine):
    """All that builds have made on an engine; other people's containers may come and go."""
    client = engine.client
    containers = client.containers.list(all=True, filters={"label": BUILD}, ignore_removed=True)
    return {
        "images": {one.id for one in client.images.list(all=True)},
        "tags": {name for one in client.images.list() for name in one.tags},
        "containers": {one.id for one in containers if one.labels[BUILD]},
        "networks": {one.name for one in client.networks.list(filters={"label": BUILD})},
        "volumes": {one.id for one in client.volumes.list()},
    }
