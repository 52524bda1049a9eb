"""Runs one stage: it reads ``job.json``, calls the hook, writes artefacts, reports the outcome."""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
from pathlib import Path
from traceback import walk_tb

import torch

from harness.runtime.contracts import ContractError, NotApplicable
from harness.runtime.worker.job import Job
from harness.runtime.worker.network_link import NetworkFailed
from harness.runtime.worker.outcome_pipe import Outcome, report
from harness.runtime.worker.stages import STAGES

HARNESS = str(Path(__file__).resolve().parents[2])
"""Folder of the harness, whose frames are never those of a module."""

REASON_LENGTH = 400
"""Characters of a reason, so that an outcome fits in its pipe whatever a module raised."""


def classify(error: BaseException) -> tuple[str, str]:
    """Return status and one-line reason of an error."""
    if isinstance(error, NetworkFailed):
        return error.status, error.reason[:REASON_LENGTH]
    line = (str(error).strip().splitlines() or [""])[0][:REASON_LENGTH]
    if isinstance(error, ContractError):
        return "contract_violation", line
    if isinstance(error, NotApplicable):
        return "not_applicable", line
    if isinstance(error, torch.OutOfMemoryError):
        return "out_of_memory", f"device memory: {line}"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in line:
        return "out_of_memory", f"host memory: {line}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return "infra_error", f"{type(error).__name__}: {line}"
    return "module_error", f"{type(error).__name__}: {line}{location(error)}"


def location(error: BaseException) -> str:
    """Return where a module raised: the last frame outside the harness and libraries, or ``""``."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and not frame.filename.startswith(HARNESS):
            return f" ({Path(frame.filename).name}:{frame.lineno})"
    return ""


def responsible_role(error: BaseException, job: Job) -> str | None:
    """Return the role that is responsible for an error, or ``None`` if that is not known.

    A defence is responsible for all errors that pass through its code, because it called what
    raised them with arguments of its choice. Otherwise the innermost module is responsible. If no
    frame belongs to a module, it is the module called last: its output has the wrong form, or it
    cannot be loaded.
    """
    if isinstance(error, NetworkFailed):
        return error.by or None
    found = [job.role_of(frame.f_code.co_filename) for frame, _ in walk_tb(error.__traceback__)]
    roles = [role for role in found if role is not None]
    if "defense" in roles:
        return "defense"
    return roles[-1] if roles else job.called


def run(path: Path) -> int:
    """Run the job at ``path`` and report its outcome; return the exit code, 0 if it ended well.

    This is one of the two places in the harness that catch every exception. An exception becomes a
    status, and its traceback goes to the stage's log.
    """
    job: Job | None = None
    status, reason, by = "ok", "", None
    try:
        job = Job.read(path)
        torch.set_num_threads(int(job.options.threads))
        STAGES[job.stage](job)
        flush_log()
    except BaseException as error:  # noqa: BLE001
        with contextlib.suppress(OSError, ValueError):  # the disk is full, or the log closed
            traceback.print_exc()
            flush_log()
        status, reason = classify(error)
        by = responsible_role(error, job) if job else None
    outcome = Outcome(status, reason, by)
    if job is not None:
        outcome = Outcome(
            status,
            reason,
            by,
            hook_seconds=round(job.hook_seconds, 4),
            passes=job.passes,
            device_memory=device_memory(job),
            breach=job.breach[:REASON_LENGTH],
            waiting=job.waiting,
            graphs=job.graphs,
            left=job.left,
        )
    report(outcome)
    return 0 if status == "ok" else 1


def flush_log() -> None:
    """Write what is left of the log, as the process ends without exit handlers.

    Raises:
        OSError: the disk is full.
    """
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()


def device_memory(job: Job) -> int | None:
    """Return the largest number of bytes allocated on the GPU, or ``None`` on the CPU."""
    if job.device.type != "cuda":
        return None
    return int(torch.cuda.max_memory_allocated(job.device))
