"""GPUs: which can be used, and whose turn it is; each runs one stage at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.environments import Environment
from harness.errors import UserError
from harness.executors.base import Executor, StageJob

PROBE_SECONDS = 120.0
PROBE_SPEC = {"task": "classification", "outputs": 2, "shape": [1, 1, 1], "classes": []}


class Leases:
    """Hands out GPUs by number; without any (on the CPU), every stage may run.

    >>> leases = Leases(["0", "1"])
    >>> leases.take("a"), leases.take("b"), leases.any_free
    ('0', '1', False)
    >>> leases.give("a")
    >>> leases.take("c")
    '0'
    """

    def __init__(self, numbers: Iterable[str] = ()) -> None:
        self._free = list(numbers)
        self._held: dict[str, str] = {}
        self._unlimited = not self._free

    @property
    def any_free(self) -> bool:
        """Whether another stage may start."""
        return self._unlimited or bool(self._free)

    def take(self, key: str) -> str | None:
        """A GPU for a stage, or ``None`` on the CPU."""
        if self._unlimited:
            return None
        self._held[key] = self._free.pop(0)
        return self._held[key]

    def give(self, key: str) -> None:
        """The stage has ended; on the CPU it held nothing."""
        if key in self._held:
            self._free.append(self._held.pop(key))


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
