"""Jobs of the self-check: stages whose module code is a probe."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.common.files import load_array
from harness.common.keys import digest
from harness.executors.base import StageJob
from harness.runtime.worker.job_file import JobFile, ModuleEntry, SpecEntry

BATCH = 4
"""Inputs of an attack's batch."""
PROBES = Path(__file__).parent / "probes"
SPEC: SpecEntry = {"task": "classification", "outputs": 3, "shape": [1, 2, 2], "classes": []}


class ProbeJobs:
    """Maker of jobs with their own keys and folders.

    Args:
        root: folder in which the jobs work.
        data: data set that every job is granted.
        weights: weights of the network that answers an attack.

    Attributes:
        modules: folder with a copy of the probes, and a module that fails when it is imported.
    """

    def __init__(self, root: Path, data: Path, weights: Path) -> None:
        self._root, self._data, self._weights = root, data, weights
        self._count = 0
        self.modules = root / "attacks" / "selfcheck"
        shutil.copytree(PROBES, self.modules, ignore=shutil.ignore_patterns("__pycache__"))
        (self.modules / "broken.py").write_text(
            "\nraise ImportError('broken on purpose')\n", "utf-8"
        )

    def make(
        self,
        probe: str,
        *,
        seconds: float = 30.0,
        memory_gb: float = 4.0,
        entry: str = "attack.py:Probe",
        checkpoint: Path | None = None,
        data: Path | None = None,
        **params: object,
    ) -> StageJob:
        """Return the job of a ``learn`` stage whose hook is a probe.

        Args:
            probe: file and function of the probe, such as ``endings.fine``.
            seconds: time limit.
            memory_gb: memory limit in GiB.
            entry: entry of the module.
            checkpoint: folder that outlives the stage; by default one of its own.
            data: data set, if not the common one.
            params: arguments of the probe.
        """
        self._count += 1
        key = digest([str(self._root), self._count])
        folder = checkpoint or self._root / "checkpoints" / key
        folder.mkdir(parents=True, exist_ok=True)
        granted = str(data or self._data)
        file = JobFile(
            stage="learn",
            spec=SPEC,
            device="cpu",
            seed_root=(0, "learn", "selfcheck"),
            deadline=seconds,
            modules={"attack": self._module(entry, "attack", "learn", {"probe": probe} | params)},
            inputs={"train": granted, "val": granted},
            options={"access": "none", "threads": 1, "budget": {}},
            checkpoint=str(folder),
        )
        return StageJob(key, self._root / "work" / key[:32], file, seconds, memory_gb)

    def with_oracle(self, job: StageJob, **params: object) -> StageJob:
        """Return the same job with access to an oracle that allows two queries per example.

        Args:
            job: job of the attack's side.
            params: parameters of the victim in the oracle.
        """
        inputs = {"weights": str(self._weights), "slice_x": job.file.inputs["train"]}
        options = {"access": "oracle", "budget": {"queries": 2}}
        return self._with_network(job, options, inputs, params)

    def with_network(self, job: StageJob, **params: object) -> StageJob:
        """Return the same job with white-box access to a network in another process.

        Args:
            job: job of the attack's side.
            params: parameters of the victim, whose network it is.
        """
        modules = {"attack": replace(job.file.modules["attack"], needs=("gradients",))}
        job = replace(job, file=replace(job.file, modules=modules))
        inputs = {"weights": str(self._weights)}
        return self._with_network(job, {"access": "victim"}, inputs, params)

    def _with_network(
        self,
        job: StageJob,
        options: Mapping[str, object],
        inputs: Mapping[str, str],
        params: dict[str, object],
    ) -> StageJob:
        rows = len(load_array(Path(job.file.inputs["train"]) / "x.npy"))
        shared = {**job.file.options, "examples": rows, "batch": BATCH}
        attack = replace(job.file, options={**shared, **options})
        needs = list(attack.modules["attack"].needs)
        service = replace(
            attack,
            stage="network",
            modules={"victim": self._module("victim.py:Linear", "victim", "build", params)},
            inputs=dict(inputs),
            options={**attack.options, "needs": needs},
            checkpoint=str(job.folder / "network-checkpoint"),
        )
        network = StageJob(
            f"{job.key}-network", job.folder / "network", service, job.seconds, job.memory_gb
        )
        return StageJob(job.key, job.folder, attack, job.seconds, job.memory_gb, network)

    def with_service(self, job: StageJob, service: StageJob) -> StageJob:
        """Return a job that runs beside another one, whose process has a victim's role too."""
        victim = self._module("victim.py:Linear", "victim", "build", {})
        file = replace(service.file, modules={**service.file.modules, "victim": victim})
        return replace(job, service=replace(service, file=file))

    def copy_of_data(self) -> Path:
        """Return a copy of the data set that may be changed."""
        self._count += 1
        return Path(shutil.copytree(self._data, self._root / f"data-{self._count}"))

    def _module(self, entry: str, kind: str, hook: str, params: dict[str, object]) -> ModuleEntry:
        return ModuleEntry(
            name="selfcheck",
            folder=str(self.modules),
            entry=entry,
            kind=kind,
            hooks=(hook,),
            params=params,
            needs=(),
        )


def checkpoint_of(job: StageJob) -> Path:
    """Return the folder that outlives a stage."""
    return Path(job.file.checkpoint)
