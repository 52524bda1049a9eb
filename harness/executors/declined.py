"""Executor that finds out who declined a cell: the victim, or a module beside it.

What a victim declines leaves the count; what a defence makes impossible is a gap of the defence. In
a process with both, the defence's code can say either. So such a claim is not believed: the victim
is built once more, in a process of its own in which no other module's code ever ran. That costs
nothing where nobody declines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.common.status import TRANSIENT, By
from harness.executors.base import Executor, Result, StageJob
from harness.runtime.worker.job_file import ModuleEntry

SUFFIX = "-applies"
"""End of the key of a stage that builds a victim alone."""


class DeclinedChecker:
    """Executor that establishes by whom a stage was declined, before it reports its end.

    Args:
        executor: place where the stages run.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.name, self.contained = executor.name, executor.contained
        self._declined: dict[str, tuple[StageJob, Result]] = {}

    def start(self, job: StageJob) -> None:
        """Start a stage and return at once."""
        self._executor.start(job)

    def wait(self, timeout: float) -> list[tuple[StageJob, Result]]:
        """Return the stages that ended; those of which it is asked who declined come later."""
        ended = []
        for job, result in self._executor.wait(timeout):
            if job.key in self._declined:
                declined, claimed = self._declined.pop(job.key)
                ended.append((declined, attribute(declined, claimed, result)))
            elif (question := victim_alone(job, result)) is not None:
                self._declined[question.key] = job, result
                question.folder.mkdir(parents=True)
                self._executor.start(question)
            else:
                ended.append((job, result))
        return ended

    def leaked_processes(self) -> list[str]:
        """Return processes left by ended stages or dead harnesses."""
        return self._executor.leaked_processes()

    def close(self) -> None:
        """Stop every stage that still runs."""
        self._declined.clear()
        self._executor.close()


def deciding_modules(job: StageJob) -> Mapping[str, ModuleEntry]:
    """Return the modules of the process with the victim: the stage's own, or its service's."""
    if job.service is not None and "victim" in job.service.file.modules:
        return job.service.file.modules
    return job.file.modules


def victim_alone(job: StageJob, result: Result) -> StageJob | None:
    """Return the job that decides whether the victim declined, or ``None`` if that is no question.

    Args:
        job: stage that has ended.
        result: its end.
    """
    modules = deciding_modules(job)
    asked = result.status == "not_applicable" and result.by != "attack"
    if not asked or "victim" not in modules or len(modules) == 1:
        return None
    folder = job.folder / "applies"
    file = replace(
        job.file,
        stage="applies",
        modules={"victim": modules["victim"]},
        inputs={},
        options={"threads": job.file.threads, "budget": {}},
        checkpoint=str(folder / "checkpoint"),
    )
    return replace(job, key=job.key + SUFFIX, folder=folder, file=file, service=None)


def attribute(job: StageJob, claimed: Result, alone: Result) -> Result:
    """Return the end of a declined stage, said of the side that declined it.

    Args:
        job: the stage.
        claimed: its end as claimed.
        alone: end of the stage that built the victim alone.
    """
    if alone.status in TRANSIENT:
        return alone  # the stage is tried again
    others: tuple[By, ...] = ("defense", "attack")
    by: By = next((role for role in others if role in deciding_modules(job)), "defense")
    return replace(claimed, by="victim" if alone.status == "not_applicable" else by)
