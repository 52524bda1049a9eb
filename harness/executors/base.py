"""The contract between the scheduler and a place where stages run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.config.environments import Environment
from harness.config.threat import By

STAGE_ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""Variables of every stage, wherever it runs: results depend on them."""


@dataclass(frozen=True)
class StageJob:
    """One stage, ready to run.

    Attributes:
        key: the stage key. folder: its own work folder; artefacts will lie under ``folder/out``.
        job: what ``job.json`` will hold. seconds, memory_gb: limits.
        service: the job of the query oracle that must answer while this one runs, or ``None``.
        environment: what has to be installed where it runs; ``None`` is the plain base. Only an
            executor with images looks at it.
        gpu: the number of the GPU that is its alone while it runs, or ``None``.
        run: the run that it belongs to, for labels.
    """

    key: str
    folder: Path
    job: dict[str, Any]
    seconds: float
    memory_gb: float
    service: StageJob | None = None
    environment: Environment | None = None
    gpu: str | None = None
    run: str = ""


@dataclass(frozen=True)
class Result:
    """How a stage ended, as the executor saw it.

    Attributes:
        status: a status of the closed list. reason: one sentence unless ``ok``.
        seconds: wall time. hook_seconds: the hook's own part, as the worker says.
        peak_memory: bytes of private memory, the largest sample. passes: examples forward/backward.
        image: digest of the container image that it ran in, or ``None``.
        by: the role whose code raised, or ``None`` where that is not known.
    """

    status: str
    reason: str
    seconds: float
    hook_seconds: float = 0.0
    peak_memory: int = 0
    passes: dict[str, int] = field(default_factory=dict)
    device_memory: int | None = None
    exit_code: int | None = None
    image: str | None = None
    by: By | None = None


class Executor(Protocol):
    """A place where stages run.

    Attributes:
        name: ``local`` or ``docker``. contained: whether stages are isolated from the host.
    """

    name: str
    contained: bool

    def start(self, job: StageJob) -> None:
        """Begin a stage; returns at once."""
        ...

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Stages that ended within ``timeout`` seconds; watches the limits meanwhile."""
        ...

    def lingering(self) -> list[str]:
        """Processes that ended stages, or dead harnesses, have left; for the self-check."""
        ...

    def close(self) -> None:
        """Stop everything that still runs; leaves no process behind."""
        ...
