"""Post-mortem of a container: whether its stage ended it, or something outside did.

Only what the engine and the kernel saw counts, nothing that comes from inside. Process 1 runs no
module code. A stage can make it exit, by killing its supervisor, or make the kernel kill it for
want of memory; no signal from inside kills it. So a SIGKILL that was not for want of memory came
from outside, and so did every request to the engine, whose socket no stage can reach.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Protocol

from harness.common.status import Status

SIGKILL_EXIT = 137
"""Exit code of process 1 after SIGKILL. Other codes above 128 are no proof: Python exits with 130
after an interrupt, which can come from inside."""
SEARCH_SECONDS = 10.0
"""Longest time to wait for the engine's report of an end; it took 0.05 to 0.3 s on an idle one."""


class Engine(Protocol):
    """Part of ``docker.DockerClient`` that is used here."""

    @property
    def containers(self) -> Any:  # noqa: ANN401 - the SDK's collection
        """Collection that lists containers."""
        ...

    @property
    def events(self) -> Any:  # noqa: ANN401 - the SDK's overloaded method
        """Method that returns a stream of the engine's events."""
        ...


@dataclass(frozen=True)
class Death:
    """End of a container, as seen from outside.

    Attributes:
        exit_code: exit code of process 1, or ``None`` if the engine reported no end.
        requested: whether somebody had the engine send it a signal (kill, stop, remove).
        out_of_memory: whether the engine reported an out-of-memory kill in it.
        machine_oom: whether the kernel has killed any process of the machine for want of memory
            since the stage began.
        lost: whether the engine does not know the container, and reported no end.
    """

    exit_code: int | None = None
    requested: bool = False
    out_of_memory: bool = False
    machine_oom: bool = False
    lost: bool = False


def examine(engine: Engine, container: str, since: float, *, machine_oom: bool) -> Death:
    """Return how a container ended; wait for the engine's report of it.

    The engine keeps its last 256 events, also of containers that are gone.

    Args:
        engine: docker client.
        container: its id.
        since: time at which its stage began, in seconds of the epoch.
        machine_oom: see ``Death``.
    """
    found: list[dict[str, Any]] = []
    with contextlib.closing(
        engine.events(
            since=int(since),
            until=int(time.time() + SEARCH_SECONDS),
            filters={"container": container, "event": ["kill", "oom", "die", "destroy"]},
            decode=True,
        )
    ) as stream:
        for event in stream:
            found.append(event)
            if event["Action"] == "destroy":  # the last one: a container removes itself
                break
    actions = {event["Action"] for event in found}
    codes = [event["Actor"]["Attributes"].get("exitCode") for event in found]
    exit_code = next((int(code) for code in codes if code is not None), None)
    lost = exit_code is None and not engine.containers.list(
        all=True, filters={"id": container}, ignore_removed=True
    )
    return Death(exit_code, "kill" in actions, "oom" in actions, machine_oom, lost)


def verdict(death: Death, memory_gb: float) -> tuple[Status, str] | None:
    """Return the status and reason of a stage whose container died, ``None`` if it ended it itself.

    Want of memory goes first, because a stage can bring it about. An engine may lose the report of
    it. Then the kernel's count must not have grown either, or the stage stays responsible.

    >>> verdict(Death(exit_code=0), 4.0)
    >>> verdict(Death(exit_code=137), 4.0)
    ('infra_error', 'process 1 of the container was killed from outside')

    Args:
        death: end of the container.
        memory_gb: memory limit of the stage.
    """
    killed = death.exit_code == SIGKILL_EXIT
    if death.out_of_memory or (killed and death.machine_oom and not death.requested):
        reason = f"host memory: the container ended at its limit of {memory_gb:g} GiB"
        return "out_of_memory", reason
    if death.requested:
        return "infra_error", "the container was killed or removed from outside"
    if killed:
        return "infra_error", "process 1 of the container was killed from outside"
    if death.lost:
        return "infra_error", "the container is gone, and the engine does not say why"
    return None


def was_paused(engine: Engine, container: str, since: float) -> bool:
    """Return whether a container was paused or resumed since its stage began.

    A container that was resumed after its stage's limit always shows: that is a recent event.

    Args:
        engine: docker client.
        container: its id.
        since: time at which its stage began, in seconds of the epoch.
    """
    with contextlib.closing(
        engine.events(
            since=int(since),
            until=int(time.time()) + 1,
            filters={"container": container, "event": ["pause", "unpause"]},
        )
    ) as stream:
        return any(True for _ in stream)
