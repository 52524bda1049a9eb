"""Probes that stand in for a service: the process that answers an attack."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn

from harness.runtime.worker.outcome_pipe import Outcome, report


def serves(outcome: dict[str, Any], gigabytes: float = 0.0, leaves: bool = False) -> NoReturn:
    """Wait to be told to stop, then report; as a broker does, but nothing is ever asked.

    Args:
        outcome: fields of the report.
        gigabytes: memory that a child fills, as the network's process might.
        leaves: whether to end at once, without being told to.
    """
    if gigabytes and os.fork() == 0:
        blocks = [bytearray(b"\x01" * (64 << 20)) for _ in range(int(gigabytes * 16))]
        time.sleep(60 + len(blocks))
    if not leaves:
        signal.sigwait({signal.SIGTERM})  # services are started with it blocked
    report(Outcome(**outcome))
    os._exit(0 if outcome.get("status", "ok") == "ok" else 1)


def hangs() -> NoReturn:
    """Do not react when told to stop, as no broker does."""
    while True:
        time.sleep(60)


def dies() -> None:
    """Die by a signal."""
    os.kill(os.getpid(), signal.SIGKILL)
