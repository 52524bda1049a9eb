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
from typing import BinaryIO

from harness.common.files import remove_tree
from harness.common.status import By, Status
from harness.common.text import one_line
from harness.executors.base import Result, StageJob
from harness.executors.blame import accept_claim, responsible
from harness.runtime.worker.output_files import find_irregular_file

DISK_FULL = 14
"""Exit code of a worker that could not write its outcome; it needs no file beside it."""
EXIT_STATUSES: dict[int, Status] = {
    0: "ok",
    10: "contract_violation",
    11: "module_error",
    13: "out_of_memory",
    DISK_FULL: "infra_error",
    99: "not_applicable",
}
OUTCOME_BYTES = 1 << 20
COUNT_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class Claim:
    """Content of ``outcome.json``: the worker's own word, of checked types but not yet believed.

    Attributes:
        status: claimed status, any text.
        reason: claimed reason, any text.
        hook_seconds: the hook's own part of the time.
        passes: number of examples by direction; from an oracle also ``refused`` queries.
        device_memory: peak bytes on the GPU, or ``None``.
        by: claimed role whose code raised, any value.
    """

    status: str
    reason: str
    hook_seconds: float
    passes: dict[str, int]
    device_memory: int | None
    by: object


def sanitize(folder: Path) -> str:
    """Make a stage's folder safe to open with ordinary code; return what was refused, or ``""``.

    Output that holds a link, a FIFO, a device or an unreadable file is emptied, because the host
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
    """Return a stage's end from its exit code (or signal) and ``outcome.json``, which must agree.

    Args:
        job: job whose folder has been sanitized.
        code: exit code of the stage's process.
        number: signal that killed it, or 0.
        seconds: wall time.
        peak: bytes of memory.
        refused: result of ``sanitize``.
    """
    if number:
        reason = f"killed by {signal_name(number)}"
        return Result("module_error", reason, seconds, peak_memory=peak, exit_code=-number)
    try:
        claim = read_claim(job.folder / "outcome.json")
    except (OSError, ValueError, RecursionError):
        log = last_line(job) or "its log is empty"
        return Result(
            "infra_error" if code == DISK_FULL else "module_error",
            f"ended with exit code {code} and left no outcome: {log}",
            seconds,
            peak_memory=peak,
            exit_code=code,
        )
    status = EXIT_STATUSES.get(code)
    if status is None or status != claim.status:
        claimed = one_line(claim.status)
        reason = f"exit code {code} contradicts its outcome, which claims {claimed!r}"
        return Result("contract_violation", reason, seconds, peak_memory=peak, exit_code=code)
    if status == "ok" and refused:
        return Result("contract_violation", refused, seconds, peak_memory=peak, exit_code=code)
    return Result(
        status,
        one_line(claim.reason),
        seconds,
        min(claim.hook_seconds, seconds),
        peak,
        claim.passes,
        claim.device_memory,
        code,
        by=accept_claim(claim.by, job.file.modules),
    )


def read_claim(path: Path) -> Claim:
    """Read ``outcome.json`` as far as a field's type matters to the rest of the host.

    Raises:
        OSError: there is no plain file of that name.
        ValueError: the content is no outcome; module code may have written it.
        RecursionError: the content is nested too deeply.
    """
    with open_plain(path) as file:
        content = json.loads(file.read(OUTCOME_BYTES))
    match content:
        case {
            "status": str(status),
            "reason": str(reason),
            "hook_seconds": int() | float() as took,
            "passes": dict(passes),
            "device_memory": int() | None as device_memory,
        } if (
            0 <= took < COUNT_LIMIT
            and all(map(is_count, (*passes.values(), device_memory or 0)))
            and all(name.isidentifier() and len(name) < 40 for name in passes)
        ):
            return Claim(status, reason, took, passes, device_memory, content.get("by"))
    raise ValueError("not an outcome")


def is_count(value: object) -> bool:
    """Return whether a value is a whole number that fits in 63 bits."""
    return type(value) is int and 0 <= value < COUNT_LIMIT


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


def take_oracle(job: StageJob, result: Result) -> Result:
    """Move the oracle's counts into the attack's artefact; without them its result is void.

    Returns:
        The result with the oracle's passes and refusals, or with the oracle's failure.
    """
    assert job.service is not None
    folder = job.service.folder
    try:
        claim = read_claim(folder / "outcome.json")
        (job.folder / "out" / "oracle").mkdir()
        with open_plain(folder / "out" / "counts.npy") as counts:
            (job.folder / "out" / "oracle" / "counts.npy").write_bytes(counts.read())
    except (OSError, ValueError, RecursionError):
        return replace(result, status="infra_error", reason="the oracle left no counts")
    if claim.status != "ok":
        reason = one_line(f"the oracle failed: {claim.reason}")
        return replace(result, status="infra_error", reason=reason)
    passes = dict(claim.passes)
    refused = passes.pop("refused", 0)
    return replace(result, passes=passes, refused_queries=refused)


def oracle_failure(service: StageJob, served: Result) -> tuple[Status, str, By]:
    """Return status, reason and party of a stage whose oracle ended before it was asked to."""
    if served.status == "ok":
        return "infra_error", "the oracle ended before the attack did", "harness"
    by = responsible("oracle", service.file.modules, served.status, served.by)
    return served.status, f"in the oracle: {served.reason}", by


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
