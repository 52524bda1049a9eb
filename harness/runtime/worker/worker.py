"""Runs one stage: it reads ``job.json``, calls the hook, writes artefacts, reports the outcome."""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path

import torch

from harness.runtime.worker.failures import REASON_LENGTH, classify, responsible_role
from harness.runtime.worker.job import Job
from harness.runtime.worker.outcome_pipe import Outcome, report
from harness.runtime.worker.stages import STAGES


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
        steps = {"steps": job.ctx.steps} if job.ctx.steps else {}
        outcome = Outcome(
            status,
            reason,
            by,
            hook_seconds=round(job.hook_seconds, 4),
            passes=job.passes | steps,
            device_memory=device_memory(job),
            breach=job.breach[:REASON_LENGTH],
            waiting=job.waiting,
            graphs=job.graphs,
            health=job.health,
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
