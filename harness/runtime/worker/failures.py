"""From an exception in a stage to its status, its reason and the role that is responsible."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path
from traceback import walk_tb

import torch

from harness.runtime.contracts import ContractError, NotApplicable
from harness.runtime.worker.job import Job


class NetworkFailed(Exception):
    """End of a service's network: status, reason, and the role that it names itself, or ``""``."""

    def __init__(self, status: str, reason: str, by: str = "") -> None:
        super().__init__(status, reason, by)
        self.status, self.reason, self.by = status, reason, by


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
