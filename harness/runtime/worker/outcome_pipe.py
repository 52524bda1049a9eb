"""Pipe over which a stage reports its outcome to the process that forked it.

Module code in the same process can write to the pipe too, so an outcome is a claim of that process,
as a file would be. But it comes from no other process, needs no disk, and has nothing to do with
the files that a module leaves. The broker of a service runs no module code and keeps the pipe from
its child: its outcome is our own.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

OUTCOME = 4
"""Descriptor of the writing end in the process of a stage."""
OUTCOME_BYTES = 1 << 16
"""Longest report that is read: what a pipe holds, so that it needs no reader while it is written.
An honest one is below 8 KiB."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a stage.

    Attributes:
        status: status that the stage ended in.
        reason: one line, unless the status is ``ok``.
        by: role whose code raised, or ``None`` where that is not known.
        hook_seconds: seconds spent in hooks.
        passes: name → number, such as of examples by direction.
        device_memory: peak bytes on the GPU, or ``None`` on the CPU.
        breach: from a service, what the attack did against the protocol; else empty.
        waiting: from a service, seconds for which its network had owed an answer when the service
            was told to stop, or ``None``.
        graphs: from a service, number of batches that the attack had its network hold.
        health: from a service, figures on the gradients that its attack asked for, by name.
    """

    status: str = "ok"
    reason: str = ""
    by: str | None = None
    hook_seconds: float = 0.0
    passes: Mapping[str, int] = field(default_factory=dict)
    device_memory: int | None = None
    breach: str = ""
    waiting: float | None = None
    graphs: int = 0
    health: Mapping[str, float] = field(default_factory=dict)


def open_pipe() -> tuple[int, int]:
    """Return reading and writing end; no operation on either ever waits."""
    return os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)


def report(outcome: Outcome) -> None:
    """Send the outcome of this stage; it is lost if a module has filled or closed the pipe."""
    with contextlib.suppress(OSError):
        os.write(OUTCOME, json.dumps(asdict(outcome)).encode())


def collect(read_end: int) -> str | None:
    """Return what a stage reported, and close the pipe; ``None`` if it reported nothing.

    All processes of the stage must be dead, so that nothing is written any more.
    """
    try:
        text = os.read(read_end, OUTCOME_BYTES)
    except BlockingIOError:  # a process outside of the stage holds the writing end
        text = b""
    finally:
        os.close(read_end)
    return text.decode("utf-8", "replace") if text else None
