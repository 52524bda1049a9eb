"""Reader of a stage's output, which is untrusted: plain files only, bounded, checked, cleaned.

Every executor uses it, after the stage's last process is dead.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeGuard

from harness.common.files import remove_tree
from harness.common.status import Status
from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.blame import accept_claim
from harness.runtime.worker import health_names
from harness.runtime.worker.output_files import find_irregular_file

CLAIMED: tuple[Status, ...] = (
    "ok",
    "not_applicable",
    "module_error",
    "contract_violation",
    "out_of_memory",
    "infra_error",
)
"""Statuses that a stage's own process can know; it may claim no other."""
COUNT_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """End of a stage's process, as the process saw it that forked the stage.

    Attributes:
        code: exit code, or 0.
        number: signal that killed it, or 0.
        outcome: text that it sent over its pipe, or ``None``; untrusted.
    """

    code: int
    number: int
    outcome: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Outcome that a stage's process reported, of checked types but not yet believed.

    Attributes:
        status: claimed status, any text.
        reason: claimed reason, any text.
        hook_seconds: the hook's own part of the time.
        passes: name → number, such as of examples by direction.
        device_memory: peak bytes on the GPU, or ``None``.
        by: claimed role whose code raised, any value.
        breach: from a service, what the attack did against the protocol; any text.
        waiting: from a service, seconds for which the network had owed an answer when the service
            was told to stop, or ``None``.
        graphs: from a service, number of batches that the attack had its network hold.
        health: from a service, figures on the gradients that its attack asked for, by name.
    """

    status: str
    reason: str
    hook_seconds: float
    passes: dict[str, int]
    device_memory: int | None
    by: object
    breach: str
    waiting: float | None
    graphs: int
    health: dict[str, float]


def sanitize(folder: Path) -> str:
    """Make a stage's folder safe to open with ordinary code; return what was refused, or ``""``.

    Output that holds a link, a FIFO, a device or an unreadable file is emptied, because the host
    would follow it with its own rights: a log copied to ``out/log.txt`` lands where that points to.
    """
    remove_tree(folder / "scratch")
    log = folder / "log.txt"
    if os.path.lexists(log) and not stat.S_ISREG(log.lstat().st_mode):
        remove_tree(log)
    refused = find_irregular_file(folder / "out")
    if refused:
        remove_tree(folder / "out")
        (folder / "out").mkdir()
    return one_line(refused)


def read_outcome(
    job: StageJob, end: ProcessEnd, seconds: float, peak: int, refused: str = ""
) -> Result:
    """Return a stage's end from how its process ended and what it reported, which must agree.

    Args:
        job: job whose folder has been sanitized.
        end: end of its process.
        seconds: wall time.
        peak: bytes of memory.
        refused: result of ``sanitize``.
    """

    def ended(status: Status, reason: str) -> Result:
        exit_code = -end.number or end.code
        return Result(status, reason, seconds, peak_memory=peak, exit_code=exit_code)

    if end.number:
        return ended("module_error", f"killed by {signal_name(end.number)}")
    claim = read_claim(end.outcome)
    if claim is None:
        log = last_line(job) or "its log is empty"
        reason = f"ended with exit code {end.code} and reported no outcome: {log}"
        return ended("module_error", reason)
    status = next((one for one in CLAIMED if one == claim.status), None)
    if status is None or (status == "ok") != (end.code == 0):
        claimed = one_line(claim.status)
        reason = f"exit code {end.code} contradicts its outcome, which claims {claimed!r}"
        return ended("contract_violation", reason)
    if status == "ok" and refused:
        return ended("contract_violation", refused)
    passes = dict(claim.passes)
    refused_queries = passes.pop("refused", None)
    return replace(
        ended(status, one_line(claim.reason)),
        hook_seconds=min(claim.hook_seconds, seconds),
        passes=passes,
        device_memory=claim.device_memory,
        by=accept_claim(claim.by, job.file.modules),
        refused_queries=refused_queries,
        health=claim.health,
    )


def read_claim(text: str | None) -> Claim | None:
    """Return a reported outcome, or ``None`` if there is none or a field has a wrong type."""
    try:
        content = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    match content:
        case {
            "status": str(status),
            "reason": str(reason),
            "hook_seconds": int() | float() as took,
            "passes": dict(passes),
            "device_memory": int() | None as device_memory,
            "breach": str(breach),
            "waiting": int() | float() | None as waiting,
            "graphs": int(graphs),
        } if (
            all(0 <= time < COUNT_LIMIT for time in (took, waiting or 0))
            and all(map(is_count, (*passes.values(), device_memory or 0, graphs)))
            and all(name.isidentifier() and len(name) < 40 for name in passes)
        ):
            by, line, health = content.get("by"), one_line(breach), content.get("health", {})
            if not is_health(health):
                return None
            return Claim(
                status, reason, took, passes, device_memory, by, line, waiting, graphs, health
            )
    return None


def is_count(value: object) -> bool:
    """Return whether a value is a whole number that fits in 63 bits."""
    return type(value) is int and 0 <= value < COUNT_LIMIT


def is_health(value: object) -> TypeGuard[dict[str, float]]:
    """Return whether a value holds numbers of bounded size under names of the closed list."""
    return isinstance(value, dict) and all(
        name in health_names.ATTACK
        and type(one) in (int, float)
        and -COUNT_LIMIT < one < COUNT_LIMIT
        for name, one in value.items()
    )


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading, without following a link or waiting for a FIFO.

    Raises:
        OSError: there is no plain file of that name.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path.name} is not a plain file")
    return os.fdopen(file, "rb")


def signal_name(number: int) -> str:
    """Return the name of a signal, ``SIGKILL`` for 9; real-time signals have none of their own."""
    names = {one.value: one.name for one in signal.Signals}
    return names.get(number, f"signal {number}")


def last_line(job: StageJob) -> str:
    """Return the last line of a stage's log so far, printable; ``""`` where there is none."""
    try:
        with open_plain(job.folder / "log.txt") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return one_line(lines[-1])[:300] if lines else ""


def save_log(job: StageJob, target: Path) -> None:
    """Save a stage's log; that of its service follows, as the network's tracebacks stand there."""
    if (job.folder / "log.txt").is_file():
        copy_tail(job.folder / "log.txt", target)
    service = job.service and job.service.folder / "log.txt"
    if service and service.is_file() and service.stat().st_size:
        own = target.read_bytes() if target.is_file() else b""
        copy_tail(service, target)
        target.write_bytes(own + "\n… log of the network …\n".encode() + target.read_bytes())


def copy_tail(source: Path, target: Path, limit: int = 64 << 10) -> None:
    """Copy a log's head and tail; a line in between says how much of a long one is left out."""
    size = source.stat().st_size
    with source.open("rb") as file:
        if size <= 2 * limit:
            target.write_bytes(file.read())
            return
        head = file.read(limit)
        file.seek(size - limit)
        gap = f"\n… {size - 2 * limit} bytes left out …\n".encode()
        target.write_bytes(head + gap + file.read())
