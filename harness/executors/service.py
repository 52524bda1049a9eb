"""An attack and the service beside it: the process with the network that it asks.

The service's outcome is our broker's word, which runs no module code (``runtime.worker``); the
attack's outcome is a claim. So what the service says of the attack goes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.common.status import By, Status
from harness.executors.base import Result, StageJob
from harness.executors.blame import responsible
from harness.executors.outcome import read_claim

STOP_SECONDS = 10.0
"""Time in which a service must report after it was asked to stop."""
NOT_STOPPED = f"it did not stop within {STOP_SECONDS:g} s when it was asked to"
NETWORK_FAILED = "its network has failed"
"""Reason of an attack that was stopped because nobody would answer it."""
ENDED_EARLY = "it ended before its attack did"
OPEN_GRAPHS = 2
"""Batches that an attack may have a network hold at once and not be blamed for their memory."""


@dataclass(frozen=True, slots=True)
class ServiceEnd:
    """End of a service.

    Attributes:
        result: its own end, as of any stage.
        breach: what the attack did against the protocol; else empty.
        waiting: seconds for which the network had owed an answer when the service was told to stop.
        graphs: number of batches that the attack had its network hold.
    """

    result: Result
    breach: str = ""
    waiting: float = 0.0
    graphs: int = 0


def service_end(result: Result, outcome: str | None, *, asked: bool) -> ServiceEnd:
    """Return the end of a service from its result, with what it reported of its attack.

    Args:
        result: its own end. One that was stopped at a limit has reported all the same.
        outcome: text that it sent over its pipe.
        asked: whether it had been asked to stop.
    """
    claim = read_claim(outcome)
    if claim is None:
        return ServiceEnd(result)
    if result.status == "ok" and not asked:
        # module code beside a broker may send it the signal that asks it to stop
        result = replace(result, status="module_error", reason=ENDED_EARLY)
    return ServiceEnd(result, claim.breach, claim.waiting or 0.0, claim.graphs)


def ended_badly(served: ServiceEnd) -> bool:
    """Return whether the attack cannot go on."""
    return bool(served.breach) or served.result.status != "ok"


def combine(job: StageJob, result: Result, served: ServiceEnd) -> Result:
    """Return the end of an attack whose service has ended too, said of the side that caused it.

    Args:
        job: job of the attack.
        result: the attack's own end.
        served: the service's end.
    """
    assert job.service is not None
    roles, own = job.service.file.modules, served.result
    result = replace(
        result,
        peak_memory=max(result.peak_memory, own.peak_memory),
        device_memory=max(result.device_memory or 0, own.device_memory or 0) or None,
        passes=own.passes,
        health=own.health,
        refused_queries=own.refused_queries,
    )

    # a probe is our own code
    asker: By = "attack" if "attack" in job.file.modules else "harness"

    def ended(status: Status, reason: str, by: By) -> Result:
        return replace(result, status=status, reason=reason, by=by)

    if served.breach:
        return ended("contract_violation", served.breach, asker)
    if own.status == "out_of_memory" and served.graphs > OPEN_GRAPHS:
        reason = f"the attack had it hold {served.graphs} batches at once: {own.reason}"
        return ended("out_of_memory", reason, asker)
    if own.status != "ok":
        by = responsible("service", roles, own.status, own.by)
        return ended(own.status, f"in the network: {own.reason}", by)
    if result.status == "timeout" and served.waiting >= patience(job.seconds):
        reason = f"the network did not answer for {served.waiting:.1f} s"
        return ended("timeout", reason, responsible("service", roles, "timeout", None))
    if result.status == "not_applicable":  # had it been the victim, the network had said so
        return replace(result, by=asker)
    return result


def patience(seconds: float) -> float:
    """Return from how long a wait for one answer on an attack's timeout is the network's.

    A slow network has answered many times before the limit; one that hangs has not for a good part
    of it. A tenth of the limit is far above any honest answer, but under a short limit the wait for
    an honest one may be as long as 2 s.

    >>> [patience(seconds) for seconds in (1800, 10, 1)]
    [180.0, 2.0, 0.5]

    Args:
        seconds: limit of the attack.
    """
    return min(max(2.0, seconds / 10), seconds / 2)
