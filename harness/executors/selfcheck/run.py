"""Self-check of any executor: named promises, each tested by stages that misbehave.

``KNOWN`` lists the promises that an executor does not keep, with reasons. They are tested too,
where a test does no harm, so that the table stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.executors.base import Executor
from harness.executors.selfcheck.checks import (
    artefacts,
    endings,
    limits,
    lives,
    networks,
    services,
    surroundings,
)
from harness.executors.selfcheck.context import SelfCheckContext
from harness.executors.selfcheck.errors import Inconclusive, PromiseBroken
from harness.executors.selfcheck.promise_check import PromiseCheck
from harness.executors.selfcheck.time_limit import time_limit

CHECKS: tuple[PromiseCheck, ...] = tuple(
    value
    for theme in (endings, limits, surroundings, artefacts, services, networks, lives)
    for value in vars(theme).values()
    if isinstance(value, PromiseCheck)
)
"""All checks, in the order in which they run."""

CHECK_SECONDS = 240.0
"""Seconds after which a check that still runs is interrupted: the harness hangs."""


@dataclass(frozen=True)
class KnownException:
    """Promise that an executor is known not to keep.

    Attributes:
        reason: why the executor does not keep it.
        runs: whether it is tested; false where the test would harm the machine.
        certain: whether it is broken on every machine; the table is outdated if it holds then.
    """

    reason: str
    runs: bool = True
    certain: bool = True


RIGHTS = "local isolates nothing: module code runs with your rights"
NETWORK = "local isolates nothing: a stage has the machine's network"

KNOWN: dict[str, dict[str, KnownException]] = {
    "local": {
        "startup-hooks": KnownException("stages run in the environment of the harness itself"),
        "unprivileged": KnownException(RIGHTS, certain=False),  # it holds if the user is not root
        "network": KnownException(NETWORK),
        "name-resolution": KnownException(NETWORK),
        "system-changes": KnownException(RIGHTS, certain=False),
        "kernel-memory": KnownException(RIGHTS),
        "carries-nothing": KnownException(
            f"{RIGHTS}; a test would leave things on the machine", runs=False
        ),
        "read-only-root": KnownException(RIGHTS),
        "host-files": KnownException(RIGHTS),
        "host-processes": KnownException(RIGHTS),
        "network-apart": KnownException(RIGHTS),
        "inputs-on-disk": KnownException(f"{RIGHTS}; the store's digests show a change afterwards"),
        "disk-limit": KnownException(
            "local limits single files only; a test would fill the disk", runs=False
        ),
        "shared-memory-limit": KnownException("files in /dev/shm count for no stage", runs=False),
        "process-limit": KnownException(
            "a limit by user would stop your other programs too", runs=False
        ),
    },
    "docker": {},
}
"""Executor → check → known exception."""


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        check: the check.
        state: ``holds``, ``known`` (a known exception), ``outdated`` (a known exception that
            holds), ``inconclusive`` (not testable on this machine) or ``broken``.
        detail: reason or observation.
    """

    check: PromiseCheck
    state: str
    detail: str = ""

    def __str__(self) -> str:
        return {
            "holds": "holds",
            "known": f"known exception: {self.detail}",
            "outdated": "holds, though listed as a known exception: remove it from the list",
            "inconclusive": f"cannot be tested here: {self.detail}",
            "broken": f"BROKEN: {self.detail}",
        }[self.state]


def selfcheck(
    make: Callable[[], Executor], root: Path, only: Collection[str] = ()
) -> Iterator[Finding]:
    """Test the promises of an executor, in order.

    Args:
        make: constructor of the executor.
        root: empty folder on the file system where runs work; the caller deletes it.
        only: names of the checks to run, or empty for all.

    Yields:
        One finding per check.
    """
    context = SelfCheckContext(make, root)
    known = KNOWN.get(context.executor.name, {})
    try:
        for check in CHECKS:
            if not only or check.name in only:
                yield try_check(check, context, known.get(check.name))
    finally:
        context.close()


def try_check(
    check: PromiseCheck, context: SelfCheckContext, known: KnownException | None
) -> Finding:
    """Run one check and compare its outcome with the known exception.

    Args:
        check: the check.
        context: context that it runs in.
        known: known exception to the promise, or ``None``.
    """
    if known is not None and not known.runs:
        return Finding(check, "known", f"{known.reason} (not tested)")
    try:
        with time_limit(CHECK_SECONDS):
            check.run(context)
    except Inconclusive as reason:
        return Finding(check, "inconclusive", str(reason))
    except PromiseBroken as seen:
        if known is not None:
            return Finding(check, "known", known.reason)
        return Finding(check, "broken", str(seen))
    except Exception as error:  # noqa: BLE001 - an executor that raises breaks its promise
        return Finding(check, "broken", f"the harness raised {type(error).__name__}: {error}")
    if known is not None and known.certain:
        return Finding(check, "outdated", known.reason)
    return Finding(check, "holds")
