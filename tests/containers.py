"""What tests ask the engine about containers of ours."""

from contextlib import closing

from harness.executors.docker import LABEL
from harness.images import Images


def ours():
    """Containers that a run of Gauntlet has made and that are still there, in whatever state."""
    with closing(Images.connect()) as engine:
        # one that goes while they are listed is none of them
        return engine.client.containers.list(
            all=True, filters={"label": LABEL}, ignore_removed=True
        )
