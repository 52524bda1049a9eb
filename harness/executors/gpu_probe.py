"""GPU probe: try each GPU with a small product, where stages will run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.common.errors import UserError
from harness.config.environments import Environment
from harness.executors.base import Executor, StageJob
from harness.runtime.worker.job_file import JobFile, SpecEntry

PROBE_SECONDS = 120.0
PROBE_SPEC: SpecEntry = {"task": "classification", "outputs": 2, "shape": [1, 1, 1], "classes": []}


def probe_gpus(executor: Executor, numbers: Iterable[str], folder: Path) -> list[str]:
    """Try each GPU with a small product on it, where stages will run; return their numbers.

    Args:
        executor: place where the stages run.
        numbers: numbers of the GPUs.
        folder: folder for the stages' files.

    Raises:
        UserError: one GPU cannot be used; a run that was asked for two must not be slow on one.
    """
    numbers = list(numbers)
    bad = {}
    for number in numbers:
        job = probe_job(number, folder / f"gpu-{number}")
        executor.start(job)
        while not (ended := executor.wait(1.0)):
            pass
        ((_, result),) = ended
        if result.status != "ok":
            bad[number] = result.reason
    if bad:
        number, reason = next(iter(bad.items()))
        raise UserError(
            "--device cuda",
            f"GPU {number} cannot be used: {reason}",
            "name those that can with --gpus; containers need the NVIDIA Container Toolkit",
        )
    return numbers


def probe_job(number: str, folder: Path) -> StageJob:
    """Return a stage that uses a GPU and nothing else."""
    file = JobFile(
        stage="device",
        spec=PROBE_SPEC,
        device="cuda",
        seed_root=(0, "device"),
        deadline=PROBE_SECONDS,
        modules={},
        inputs={},
        options={"threads": 1},
        checkpoint=str(folder / "checkpoint"),
    )
    environment = Environment(device="cuda")
    return StageJob(
        f"gpu-{number}", folder, file, PROBE_SECONDS, 4.0, environment=environment, gpu=number
    )
