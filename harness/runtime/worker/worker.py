"""Runs one stage: reads ``job.json``, calls the hook, writes artefacts, ``outcome.json`` last."""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from traceback import walk_tb

import torch

from harness.runtime.contracts import ContractError, NotApplicable
from harness.runtime.worker import arrays
from harness.runtime.worker.job import Job
from harness.runtime.worker.stages import STAGES

OURS = str(Path(__file__).resolve().parents[2])
"""The harness's own package, whose frames are nobody's fault but ours."""

EXIT_CODES = {
    "ok": 0,
    "contract_violation": 10,
    "module_error": 11,
    "out_of_memory": 13,
    "infra_error": 14,
    "not_applicable": 99,
}
"""Status → exit code. The host trusts the code and the file only together."""


def blame(error: BaseException) -> tuple[str, str]:
    """Status and one-line reason for what a hook raised."""
    line = (str(error).strip().splitlines() or [""])[0][:400]
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
    return "module_error", f"{type(error).__name__}: {line}{raised_at(error)}"


def raised_at(error: BaseException) -> str:
    """Where a module raised: the last frame that is not ours and not a library's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and not frame.filename.startswith(OURS):
            return f" ({Path(frame.filename).name}:{frame.lineno})"
    return ""


def at_fault(error: BaseException, job: Job) -> str | None:
    """Return the role whose code an error came out of, or ``None`` where that cannot be told.

    A defence through whose code the error came answers for it: it called what raised, with what it
    chose to. Otherwise the innermost module does. Without a frame of a module, what a hook
    returned was wrong, or its module cannot be loaded.
    """
    found = [job.owner(frame.f_code.co_filename) for frame, _ in walk_tb(error.__traceback__)]
    roles = [role for role in found if role is not None]
    if "defense" in roles:
        return "defense"
    return roles[-1] if roles else job.called


def run(path: Path) -> int:
    """Run the job at ``path``; returns the exit code.

    This is one of the two places where everything is caught: whatever a module raises becomes a
    status, with its traceback in the stage's log.
    """
    job: Job | None = None
    status, reason, by = "ok", "", None
    try:
        job = Job.read(path)
        torch.set_num_threads(int(job.options["threads"]))
        STAGES[job.stage](job)
    except BaseException as error:  # noqa: BLE001
        traceback.print_exc()
        status, reason = blame(error)
        by = at_fault(error, job) if job else None
    outcome = {
        "status": status,
        "reason": reason,
        "by": by,
        "hook_seconds": round(job.hook_seconds, 4) if job else 0.0,
        "passes": job.passes if job else {},
        "device_memory": device_memory(job),
    }
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        arrays.write_json(path.parent / "outcome.json", outcome)
    except OSError:  # the disk is full: the exit code says so
        return EXIT_CODES["infra_error"]
    return EXIT_CODES[status]


def device_memory(job: Job | None) -> int | None:
    """Peak bytes allocated on the GPU, or ``None`` on the CPU."""
    if job is None or job.device.type != "cuda":
        return None
    return int(torch.cuda.max_memory_allocated(job.device))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
