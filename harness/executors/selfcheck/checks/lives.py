"""Promises about lifetimes: scratch, checkpoints, processes, the harness."""

from __future__ import annotations

from harness.executors.selfcheck.context import (
    SelfCheckContext,
    expect_no_processes,
    wait_for_beats,
)
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.probe_jobs import checkpoint_of
from harness.executors.selfcheck.promise_check import promise


@promise
def scratch_is_private(context: SelfCheckContext) -> None:
    """Stages that run side by side do not see each other's scratch."""
    names = ("one", "two")
    jobs = [context.jobs.make("artefacts.marks", name=name, asleep=0.5) for name in names]
    for name, stage in zip(names, context.finish(*jobs), strict=True):
        report = stage.report
        expect(report["scratch"] == [name], f"stage {name} sees {report['scratch']}")


@promise
def carries_nothing(context: SelfCheckContext) -> None:
    """A stage finds nothing that an earlier stage of its kind has left."""
    for _ in range(3):
        found = context.report("surroundings.notes")["found"]
        expect(not found, f"left by an earlier stage: {', '.join(found)}")


@promise
def checkpoint(context: SelfCheckContext) -> None:
    """A checkpoint survives when its stage is killed, and the next attempt finds it."""
    folder = context.root / "checkpoints" / "kept"
    first = context.run(
        "artefacts.keeps", then="sleep", seconds=context.deadline, checkpoint=folder
    )
    first.expect("timeout")
    lives = context.report("artefacts.keeps", then="end", checkpoint=folder)["lives"]
    expect(lives == 2, f"the second attempt found {lives - 1} earlier ones")


@promise
def oracle(context: SelfCheckContext) -> None:
    """The query oracle answers, counts, and refuses queries over budget."""
    (stage,) = context.finish(context.jobs.with_oracle(context.jobs.make("oracle.asks")))
    report = stage.report
    expect(report["answers"] == [[1.0, 1.0, 1.0]] * 2, f"it answered {report['answers']}")
    expect(report["refused"] == "QueryRefused" and report["left"] == [0, 0], report)
    assert stage.job.service is not None
    counts = stage.job.service.folder / "out" / "oracle" / "counts.npy"
    expect(counts.is_file(), "the oracle left no counts")


@promise
def oracle_grants(context: SelfCheckContext) -> None:
    """A query attack that asks for more than answers breaks its contract, whatever it does then."""
    for kind in ("forward", "features", "maps", "training_loss", "predict"):
        job = context.jobs.make("oracle.asks_more", kind=kind)
        (stage,) = context.finish(context.jobs.with_oracle(job))
        stage.expect("contract_violation", kind)
        expect(stage.result.by == "attack", f"the role reported is {stage.result.by}")


@promise
def oracle_left(context: SelfCheckContext) -> None:
    """An attack that closes the connection is no failure of the network."""
    (stage,) = context.finish(context.jobs.with_oracle(context.jobs.make("oracle.hangs_up")))
    expect(stage.report == {"left": True}, stage.report)


@promise
def oracle_fails(context: SelfCheckContext) -> None:
    """An oracle that cannot start fails its stage at once."""
    (stage,) = context.finish(context.jobs.with_oracle(context.jobs.make("oracle.asks"), fail=True))
    expect(stage.result.status != "ok", "the stage was ok without an oracle")
    expect("cannot start" in stage.result.reason, stage.result.reason)
    expect(stage.result.seconds < 10, f"reported after {stage.result.seconds:.0f} s")


@promise
def harness_killed(context: SelfCheckContext) -> None:
    """A harness that is killed (kill -9) leaves no stage running."""
    job = context.jobs.make("limits.leaves", alive=60)
    context.abandon(job)
    expect_no_processes(context.executor, checkpoint_of(job), seconds=15)


@promise
def parent_killed(context: SelfCheckContext) -> None:
    """A stage that kills its parent ends with a status, and the next stage runs."""
    stage = context.run("endings.kills_parent")
    expect(stage.result.status in ("ok", "module_error", "infra_error"), stage.result)
    expect(context.report("endings.fine") == {"fine": True}, "the next stage reported nothing")


@promise
def close_ends_all(context: SelfCheckContext) -> None:
    """``close()`` ends every process of every stage."""
    job = context.jobs.make("limits.leaves", alive=60)
    context.executor.start(job)
    wait_for_beats(checkpoint_of(job))
    context.executor.close()  # the last check: nothing can be run after it
    expect_no_processes(context.executor, checkpoint_of(job))
