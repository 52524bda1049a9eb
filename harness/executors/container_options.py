"""Options that lock a container down; docker/README.md says what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.executors.base import STAGE_ENVIRONMENT
from harness.executors.image_steps import PACKAGES
from harness.runtime.worker.packages import PACKAGES_VARIABLE

GIB = 1 << 30
USER = 65532
"""Unassigned user number: neither a user of the image nor, as a rule, of the host."""
PROCESSES = 512
INODES = 1 << 16
SHARED_MEMORY = 256 << 20
MOUNTS = "/box"
"""Path of the mount root inside a container."""
NO_IPC = {"kernel.shmmni": "0", "kernel.msgmni": "0", "kernel.sem": "250 32000 32 0",
          "fs.mqueue.queues_max": "0"}  # fmt: skip
"""System V shared memory and message queues outlive processes, so there are none."""

NO_STARTUP = ("-P", "-s", "-S")
"""Python's start-up hooks off: no ``.pth``, no ``sitecustomize``, no folder of the user or of the
script. Not ``-I``, which would ignore ``PYTHONHASHSEED``, too; the variables are ours."""


@dataclass(frozen=True)
class ContainerSpec:
    """What a container is made for; stages of equal specification may share one.

    Attributes:
        image: digest of the image.
        stage: kind of the stages.
        memory_gb: memory limit.
        cpus: limit of CPU cores.
        gpu: number of the GPU, or ``None``.
        modules: digest of the modules, the data set's description and the model access.
        granted: names of the granted inputs.
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
        """Limit of output and scratch files: they lie in memory, so half of its limit."""
        return int(self.memory_gb * GIB / 2)


def options(
    spec: ContainerSpec, mount_root: Path, runtime: Path, labels: dict[str, str]
) -> dict[str, Any]:
    """Return the SDK's options of a container that is locked down."""
    memory = int(spec.memory_gb * GIB)
    return {
        "entrypoint": [
            "python",
            *NO_STARTUP,
            "-m",
            "harness.runtime.worker.container_init",
            f"{MOUNTS}/line",
            spec.stage,
        ],
        "user": f"{USER}:{USER}",
        "environment": STAGE_ENVIRONMENT
        | {
            "PYTHONPATH": "/gauntlet",
            PACKAGES_VARIABLE: ":".join(PACKAGES),
            "HOME": "/stage/job/tmp",
            "TMPDIR": "/stage/job/tmp",
        },
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
        "nano_cpus": spec.cpus * 10**9,
        "shm_size": SHARED_MEMORY,
        "tmpfs": {
            "/stage": f"size={spec.disk_bytes},nr_inodes={INODES},mode=1777,nosuid,nodev,noexec"
        },
        "volumes": {
            str(mount_root.resolve()): {"bind": MOUNTS, "mode": "ro"},
            str(runtime.resolve()): {"bind": "/gauntlet/harness", "mode": "ro"},
        },
        "log_config": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
        **({} if spec.gpu is None else gpu_request(spec.gpu)),
    }


def gpu_request(number: str) -> dict[str, Any]:
    """Return the request for one GPU in the form of the engine's API."""
    request = {"Driver": "", "DeviceIDs": [number], "Capabilities": [["gpu"]], "Options": {}}
    return {"device_requests": [request]}
