"""GPU probe: try each GPU with a small product, where stages will run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.common.errors import UserError
from harness.config.environments import Environment
from harness.executors.base import Executor, StageJob

PROBE_SECONDS = 120.0
PROBE_SPEC = {"task": "classification", "outputs": 2, "shape": [1, 1, 1], "classes": []}


def usable(executor: Executor, numbers: Iterable[str], folder: Path) -> list[str]:
    """Try each GPU with a small product on it, where stages will run.

    Args:
        executor: where. numbers: of the GPUs. folder: for the stages' files.

    Raises:
        UserError: one of them cannot be used; a run that was asked for two shall not crawl on one.
    """
    numbers = list(numbers)
    bad = {}
    for number in numbers:
        job = probe(number, folder / f"gpu-{number}")
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


def probe(number: str, folder: Path) -> StageJob:
    """A stage that uses a GPU and nothing else."""
    job = {
        "stage": "device",
        "spec": PROBE_SPEC,
        "device": "cuda",
        "seed_root": [0, "device"],
        "deadline": PROBE_SECONDS,
        "modules": {},
        "inputs": {},
        "options": {"threads": 1},
        "checkpoint": str(folder / "checkpoint"),
    }
    environment = Environment(device="cuda")
    return StageJob(
        f"gpu-{number}", folder, job, PROBE_SECONDS, 4.0, environment=environment, gpu=number
    )
