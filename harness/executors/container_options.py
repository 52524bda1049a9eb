"""Everything that locks a container down; docker/README.md says what each lock is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.executors.base import STAGE_ENVIRONMENT

GIB = 1 << 30
USER = 65532
"""Nobody's number: neither a user of the image nor, as a rule, of the host."""
PROCESSES = 512
INODES = 1 << 16
SHARED_MEMORY = 256 << 20
NO_IPC = {"kernel.shmmni": "0", "kernel.msgmni": "0", "kernel.sem": "250 32000 32 0",
          "fs.mqueue.queues_max": "0"}  # fmt: skip
"""System V shared memory and message queues outlive processes, so there are none."""


@dataclass(frozen=True)
class Shape:
    """What a container is made for; stages of equal shape may share one.

    Attributes:
        image: digest of the image. stage: kind of the stages. memory_gb, cpus: limits.
        gpu: number of the GPU, or ``None``. modules: what runs there. granted: names of inputs.
    """

    image: str
    stage: str
    memory_gb: float
    cpus: int
    gpu: str | None
    modules: str
    granted: tuple[str, ...]

    @property
    def disk_bytes(self) -> int:
        """Room for output and scratch: in memory, so that half of the memory is its limit."""
        return int(self.memory_gb * GIB / 2)


def options(shape: Shape, box: Path, runtime: Path, labels: dict[str, str]) -> dict[str, Any]:
    """Everything that locks a container down; see docker/README.md for what each is for."""
    memory = int(shape.memory_gb * GIB)
    return {
        "entrypoint": [
            "python",
            "-m",
            "harness.runtime.worker.container_init",
            "/box/line",
            shape.stage,
        ],
        "user": f"{USER}:{USER}",
        "environment": STAGE_ENVIRONMENT
        | {"PYTHONPATH": "/gauntlet", "HOME": "/stage/job/tmp", "TMPDIR": "/stage/job/tmp"},
        "working_dir": "/",
        "hostname": "stage",
        "labels": labels,
        "auto_remove": True,
        "network_mode": "none",
        "ipc_mode": "private",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "sysctls": NO_IPC,
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": PROCESSES,
        "nano_cpus": shape.cpus * 10**9,
        "shm_size": SHARED_MEMORY,
        "tmpfs": {
            "/stage": f"size={shape.disk_bytes},nr_inodes={INODES},mode=1777,nosuid,nodev,noexec"
        },
        "volumes": {
            str(box.resolve()): {"bind": "/box", "mode": "ro"},
            str(runtime.resolve()): {"bind": "/gauntlet/harness", "mode": "ro"},
        },
        "log_config": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        **({} if shape.gpu is None else gpu(shape.gpu)),
    }


def gpu(number: str) -> dict[str, Any]:
    """The request for one GPU, as the engine's API words it."""
    request = {"Driver": "", "DeviceIDs": [number], "Capabilities": [["gpu"]], "Options": {}}
    return {"device_requests": [request]}
