"""What a stage left behind, read as a stranger's: plain files only, bounded, checked, cleaned.

Every executor uses this, after the stage's last process is dead.
"""

from __future__ import annotations

import json
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from harness.common.files import remove_tree
from harness.common.text import one_line
from harness.config.threat import By
from harness.executors.base import Result, StageJob
from harness.executors.responsible import claimed, responsible
from harness.runtime.worker.output_files import find_irregular_file

DISK_FULL = 14
"""The one exit code that speaks for itself: the worker could not write its outcome."""
EXIT_STATUSES = {
    0: "ok",
    10: "contract_violation",
    11: "module_error",
    13: "out_of_memory",
    DISK_FULL: "infra_error",
    99: "not_applicable",
}
OUTCOME_BYTES = 1 << 20
COUNT_LIMIT = 1 << 63


def tame(folder: Path) -> str:
    """Make a stage's folder safe to open with ordinary code; returns what was refused, or ``""``.

    Output that holds a link, a FIFO, a device or something unreadable is emptied, because the host
    would follow it with its own rights: a log copied to ``out/log.txt`` lands where that points to.
    """
    remove_tree(folder / "scratch")
    for name in ("outcome.json", "log.txt"):
        path = folder / name
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            remove_tree(path)
    refused = find_irregular_file(folder / "out")
    if refused:
        remove_tree(folder / "out")
        (folder / "out").mkdir()
    return one_line(refused)


def read_outcome(
    job: StageJob, code: int, number: int, seconds: float, peak: int, refused: str = ""
) -> Result:
    """Join exit code (or signal) with ``outcome.json``; neither alone is believed.

    Args:
        job: whose folder has been tamed. code: exit code. number: the signal that killed it, or 0.
        seconds: wall time. peak: bytes. refused: what ``tame`` returned.
    """
    if number:
        reason = f"killed by {signal_name(number)}"
        return Result("module_error", reason, seconds, peak_memory=peak, exit_code=-number)
    try:
        with open_plain(job.folder / "outcome.json") as file:
            claim = checked(json.loads(file.read(OUTCOME_BYTES)))
    except (OSError, ValueError, RecursionError):
        status = "infra_error" if code == DISK_FULL else "module_error"
        said = last_line(job) or "its log is empty"
        reason = f"ended with exit code {code} and left no outcome: {said}"
        return Result(status, reason, seconds, peak_memory=peak, exit_code=code)
    status = claim["status"]
    if EXIT_STATUSES.get(code) != status:
        reason = f"exit code {code} contradicts its outcome, which claims {one_line(status)!r}"
        return Result("contract_violation", reason, seconds, peak_memory=peak, exit_code=code)
    if status == "ok" and refused:
        return Result("contract_violation", refused, seconds, peak_memory=peak, exit_code=code)
    return Result(
        status,
        one_line(claim["reason"]),
        seconds,
        min(claim["hook_seconds"], seconds),
        peak,
        claim["passes"],
        claim["device_memory"],
        code,
        by=claimed(claim.get("by"), job.job["modules"]),
    )


def checked(claim: dict[str, Any]) -> dict[str, Any]:
    """An outcome whose fields have the types that the rest of the host relies on.

    Raises:
        ValueError: they have not; module code may have written it.
    """
    match claim:
        case {
            "status": str(),
            "reason": str(),
            "hook_seconds": int() | float() as took,
            "passes": dict(passes),
            "device_memory": int() | None as device_memory,
        } if (
            0 <= took < COUNT_LIMIT
            and all(map(is_count, (*passes.values(), device_memory or 0)))
            and all(name.isidentifier() and len(name) < 40 for name in passes)
        ):
            return claim
    raise ValueError("not an outcome")


def is_count(value: object) -> bool:
    """Whether a value is a whole number that fits in 63 bits."""
    return type(value) is int and 0 <= value < COUNT_LIMIT


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; a link is not followed and a FIFO not waited for.

    Raises:
        OSError: there is no plain file of that name.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path.name} is not a plain file")
    return os.fdopen(file, "rb")


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9; real-time signals have no names of their own."""
    names = {one.value: one.name for one in signal.Signals}
    return names.get(number, f"signal {number}")


def last_line(job: StageJob) -> str:
    """The last line of a stage's log so far, printable; empty where there is none."""
    try:
        with open_plain(job.folder / "log.txt") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return one_line(lines[-1])[:300] if lines else ""


def take_oracle(job: StageJob, result: Result) -> tuple[Result, dict[str, Any]]:
    """Move the oracle's counts into the artefact; without them the stage did not happen.

    Returns:
        The result with the oracle's passes, and what the receipt says of the oracle.
    """
    assert job.service is not None
    folder = job.service.folder
    try:
        with open_plain(folder / "outcome.json") as file:
            outcome = checked(json.loads(file.read(OUTCOME_BYTES)))
        (job.folder / "out" / "oracle").mkdir()
        with open_plain(folder / "out" / "counts.npy") as counts:
            (job.folder / "out" / "oracle" / "counts.npy").write_bytes(counts.read())
    except (OSError, ValueError, RecursionError):
        return replace(result, status="infra_error", reason="the oracle left no counts"), {}
    if outcome["status"] != "ok":
        reason = one_line(f"the oracle failed: {outcome['reason']}")
        return replace(result, status="infra_error", reason=reason), {}
    passes = dict(outcome["passes"])
    return replace(result, passes=passes), {"oracle": {"refused": passes.pop("refused", 0)}}


def oracle_failure(service: StageJob, served: Result) -> tuple[str, str, By]:
    """Status, reason and blame of a stage whose oracle ended before it was told to."""
    if served.status == "ok":
        return "infra_error", "the oracle ended before the attack did", "harness"
    by = responsible("oracle", service.job["modules"], served.status, served.by)
    return served.status, f"in the oracle: {served.reason}", by


def copy_tail(source: Path, target: Path, limit: int = 64 << 10) -> None:
    """Keep a log's head and tail; the middle of a long one is dropped and said to be."""
    size = source.stat().st_size
    with source.open("rb") as file:
        if size <= 2 * limit:
            target.write_bytes(file.read())
            return
        head = file.read(limit)
        file.seek(size - limit)
        gap = f"\n… {size - 2 * limit} bytes left out …\n".encode()
        target.write_bytes(head + gap + file.read())
