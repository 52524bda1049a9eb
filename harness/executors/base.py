"""Contract between the scheduler and a place where stages run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.common.status import By, Status
from harness.config.environments import Environment
from harness.runtime.worker.job_file import JobFile

STAGE_ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # glibc keeps freed memory: a network gives back and takes the same blocks at every pass, and
    # a process that was just forked pays for each page anew
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
"""Variables of every stage, wherever it runs; results depend on all but those of malloc."""


@dataclass(frozen=True)
class StageJob:
    """Stage that is ready to run.

    Attributes:
        key: key of the stage.
        folder: folder of its own; artefacts will lie under ``folder/out``.
        file: content of ``job.json``.
        seconds: time limit.
        memory_gb: memory limit.
        service: job of the process that holds the network and answers while this one runs, or
            ``None``.
        environment: packages that must be installed where it runs; ``None`` is the plain base. Only
            an executor with images reads it.
        gpu: number of the GPU that is reserved for it while it runs, or ``None``.
        run: name of the run that it belongs to, for labels.
    """

    key: str
    folder: Path
    file: JobFile
    seconds: float
    memory_gb: float
    service: StageJob | None = None
    environment: Environment | None = None
    gpu: str | None = None
    run: str = ""


@dataclass(frozen=True)
class Result:
    """End of a stage, as the executor observed it.

    Attributes:
        status: a status of the closed list.
        reason: one sentence, unless the status is ``ok``.
        seconds: wall time.
        hook_seconds: the hook's own part of it, as the worker reports.
        peak_memory: bytes of private memory, the largest sample.
        passes: number of examples by direction, ``forward`` and ``backward``; a service's own count
            where there is one.
        device_memory: peak bytes on the GPU, or ``None`` on the CPU.
        exit_code: exit code of the stage's process, or ``None`` where it had none.
        image: digest of the container image, or ``None`` outside containers.
        by: role whose code raised, or ``None`` where that is not known.
        refused_queries: number of queries that the service refused, or ``None`` if it counts none.
        health: from a service, figures on the gradients that its attack asked for, by name.
    """

    status: Status
    reason: str
    seconds: float
    hook_seconds: float = 0.0
    peak_memory: int = 0
    passes: Mapping[str, int] = field(default_factory=dict)
    device_memory: int | None = None
    exit_code: int | None = None
    image: str | None = None
    by: By | None = None
    refused_queries: int | None = None
    health: Mapping[str, float] = field(default_factory=dict)


class Executor(Protocol):
    """Place where stages run.

    Attributes:
        name: ``local`` or ``docker``.
        contained: whether stages are isolated from the host.
    """

    name: str
    contained: bool

    def start(self, job: StageJob) -> None:
        """Start a stage and return at once."""
        ...

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Return the stages that ended within ``timeout`` seconds; enforce limits meanwhile."""
        ...

    def leaked_processes(self) -> list[str]:
        """Return processes left by ended stages or dead harnesses; for the self-check."""
        ...

    def close(self) -> None:
        """Stop every stage that still runs; no process stays behind."""
        ...
