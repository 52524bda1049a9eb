"""One self-check for every executor: named promises, each tried by a stage that misbehaves.

An executor that cannot keep a promise says so in ``KNOWN``, with the reason. What is listed there
is tried all the same where trying does no harm, so that the table stays true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.executors.base import Executor
from harness.executors.selfcheck.checks import artefacts, endings, limits, lives, surroundings
from harness.executors.selfcheck.context import Broken, Check, Rig, Untold, watched

CHECKS: tuple[Check, ...] = tuple(
    value
    for theme in (endings, limits, surroundings, artefacts, lives)
    for value in vars(theme).values()
    if isinstance(value, Check)
)

CHECK_SECONDS = 240.0
"""Longest time that one check may take before the harness counts as hung."""


@dataclass(frozen=True)
class Known:
    """An exception to a promise.

    Attributes:
        reason: why this executor does not keep it.
        runs: whether the check is tried; not where it would hurt the machine.
        certain: whether it fails on every machine, so that a pass means the table is out of date.
    """

    reason: str
    runs: bool = True
    certain: bool = True


RIGHTS = "local isolates nothing: module code runs with your rights"

KNOWN: dict[str, dict[str, Known]] = {
    "local": {
        "unprivileged": Known(RIGHTS, certain=False),  # it passes for whoever is not root
        "network": Known("local isolates nothing: a stage has the machine's network"),
        "name-resolution": Known("local isolates nothing: a stage has the machine's network"),
        "system-changes": Known(RIGHTS, certain=False),
        "kernel-memory": Known(RIGHTS),
        "carries-nothing": Known(f"{RIGHTS}; trying would leave things on the machine", False),
        "read-only-root": Known(RIGHTS),
        "host-files": Known(RIGHTS),
        "host-processes": Known(RIGHTS),
        "inputs-on-disk": Known(f"{RIGHTS}; the store's digests show a change afterwards"),
        "disk-limit": Known("local limits single files only; trying would fill the disk", False),
        "shared-memory-limit": Known("what lies in /dev/shm counts for no stage", False),
        "process-limit": Known("a limit by user would stop your other programs too", False),
    },
    "docker": {},
}
"""Executor → check → why it is an exception. A test keeps the names true."""


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        check: what was tried.
        state: ``holds``, ``known`` (a known exception), ``outdated`` (a known exception that
            holds), ``untold`` (this machine cannot tell) or ``broken``.
        detail: the reason, or what was seen.
    """

    check: Check
    state: str
    detail: str = ""

    def __str__(self) -> str:
        return {
            "holds": "holds",
            "known": f"known exception: {self.detail}",
            "outdated": "holds, though listed as a known exception: take it off the list",
            "untold": f"cannot be told here: {self.detail}",
            "broken": f"BROKEN: {self.detail}",
        }[self.state]


def selfcheck(
    make: Callable[[], Executor], root: Path, only: Collection[str] = ()
) -> Iterator[Finding]:
    """Try every promise on an executor, in order.

    Args:
        make: the executor's constructor.
        root: an empty folder on the file system where runs work; left behind for the caller.
        only: names of checks; all when empty.
    """
    rig = Rig(make, root)
    known = KNOWN.get(rig.executor.name, {})
    try:
        for check in CHECKS:
            if not only or check.name in only:
                yield judged(check, rig, known.get(check.name))
    finally:
        rig.close()


def judged(check: Check, rig: Rig, known: Known | None) -> Finding:
    """Try one promise, and read the outcome against the known exceptions."""
    if known is not None and not known.runs:
        return Finding(check, "known", f"{known.reason} (not tried)")
    try:
        with watched(CHECK_SECONDS):
            check.run(rig)
    except Untold as reason:
        return Finding(check, "untold", str(reason))
    except Broken as seen:
        if known is not None:
            return Finding(check, "known", known.reason)
        return Finding(check, "broken", str(seen))
    except Exception as error:  # noqa: BLE001 - a harness that raises has broken its promise
        return Finding(check, "broken", f"the harness raised {type(error).__name__}: {error}")
    if known is not None and known.certain:
        return Finding(check, "outdated", known.reason)
    return Finding(check, "holds")
