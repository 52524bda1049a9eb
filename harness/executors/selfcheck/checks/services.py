"""Promises about an attack and its service: each side has its own end and its own limits."""

from __future__ import annotations

from typing import Any

from harness.executors.base import Result
from harness.executors.selfcheck.context import SelfCheckContext
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.promise_check import promise

MEMORY = 1.2
"""Limit in GiB of the memory checks; an idle stage uses about 0.2."""
EXCESS = 2.4
"""GiB that a service tries to use."""
SERVES = "services.serves"
AT_ONCE = 20.0
"""Seconds in which an attack must be ended that would sleep for a minute."""


def pair(
    context: SelfCheckContext,
    attack: str,
    service: str,
    *,
    seconds: float = 90.0,
    memory_gb: float = 4.0,
    asleep: float | None = None,
    gigabytes: float = 0.0,
    leaves: bool = False,
    **outcome: object,
) -> Result:
    """Run an attack beside a service, which are both probes; return how it ended.

    Args:
        context: context to run it in.
        attack: probe of the attack.
        service: probe of the service.
        seconds: time limit.
        memory_gb: memory limit in GiB of each of the two.
        asleep: seconds for which the attack sleeps, where its probe does.
        gigabytes: memory that the service fills.
        leaves: whether the service ends at once.
        outcome: what the service reports.
    """
    settings: dict[str, Any] = {} if asleep is None else {"asleep": asleep}
    job = context.jobs.make(attack, seconds=seconds, memory_gb=memory_gb, **settings)
    serving: dict[str, Any] = {"outcome": outcome, "gigabytes": gigabytes, "leaves": leaves}
    beside = context.jobs.make(
        service, seconds=seconds, memory_gb=memory_gb, **(serving if service == SERVES else {})
    )
    (stage,) = context.finish(context.jobs.with_service(job, beside))
    return stage.result


def expect_end(result: Result, status: str, by: str | None, *texts: str) -> None:
    """Check status, role and reason of an attack's end."""
    fits = (result.status, result.by) == (status, by) and all(t in result.reason for t in texts)
    expect(fits, f"{result.status} by {result.by}: {result.reason or 'no reason'}")


@promise
def service_counts(context: SelfCheckContext) -> None:
    """Passes and refused queries are those that the service counted."""
    counted = {"forward": 7, "backward": 5, "shown": 2, "refused": 3}
    result = pair(context, "endings.fine", SERVES, passes=counted)
    expect_end(result, "ok", None)
    expect(result.passes == {"forward": 7, "backward": 5, "shown": 2}, result.passes)
    expect(result.refused_queries == 3, f"{result.refused_queries} refused queries")


@promise
def service_breach(context: SelfCheckContext) -> None:
    """What an attack did against its service's protocol is contract_violation by the attack."""
    for attack in ("endings.fine", "endings.raises", "endings.declines"):
        result = pair(context, attack, SERVES, breach="it asked too much")
        expect_end(result, "contract_violation", "attack", "it asked too much")


@promise
def service_fails(context: SelfCheckContext) -> None:
    """A network that fails or dies ends its attack at once, and the failure is the network's."""
    failure: dict[str, Any] = {"status": "module_error", "reason": "cannot answer", "by": "victim"}
    failed = pair(context, "limits.sleeps", SERVES, asleep=60.0, leaves=True, **failure)
    expect_end(failed, "module_error", "victim", "in the network: cannot answer")
    died = pair(context, "limits.sleeps", "services.dies", asleep=60.0)
    expect_end(died, "module_error", "victim", "in the network: killed by SIGKILL")
    expect(max(failed.seconds, died.seconds) < AT_ONCE, f"after {died.seconds:.0f} s")


@promise
def service_left(context: SelfCheckContext) -> None:
    """A service that ends before it is asked to has failed."""
    result = pair(context, "limits.sleeps", SERVES, asleep=60.0, leaves=True)
    expect_end(result, "module_error", "victim", "it ended before its attack did")


@promise
def service_hangs(context: SelfCheckContext) -> None:
    """A network that owes an answer when its attack is out of time is the one that timed out."""
    limit = context.deadline + 1.0
    for waiting, by, text in ((2.5, "victim", "did not answer for 2.5 s"), (0.1, None, "limit")):
        result = pair(context, "limits.sleeps", SERVES, seconds=limit, asleep=60.0, waiting=waiting)
        expect_end(result, "timeout", by, text)
    stuck = pair(context, "endings.fine", "services.hangs")
    expect_end(stuck, "timeout", "victim", "did not stop")


@promise
def service_memory(context: SelfCheckContext) -> None:
    """Attack and service have a memory limit each, and the side that used it is named."""
    for graphs, by in ((0, "victim"), (40, "attack")):
        result = pair(
            context,
            "limits.sleeps",
            SERVES,
            asleep=60.0,
            memory_gb=MEMORY,
            gigabytes=EXCESS,
            graphs=graphs,
        )
        expect_end(result, "out_of_memory", by, "host memory")
    both = pair(context, "limits.sleeps", SERVES, asleep=3.0, memory_gb=MEMORY, gigabytes=0.7)
    expect_end(both, "ok", None)
