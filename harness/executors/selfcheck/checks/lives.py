"""Promises about what lives how long: scratch, checkpoints, processes, the harness."""

from __future__ import annotations

from harness.executors.selfcheck.context import Rig, check, expect, expect_silence, wait_for_beats


@check
def scratch_is_private(rig: Rig) -> None:
    """Stages that run side by side do not see each other's scratch."""
    names = ("one", "two")
    jobs = [rig.job("artefacts.marks", name=name, asleep=0.5) for name in names]
    for name, seen in zip(names, rig.finish(*jobs), strict=True):
        report = seen.report
        expect(report["scratch"] == [name], f"stage {name} sees {report['scratch']}")


@check
def carries_nothing(rig: Rig) -> None:
    """What one stage leaves behind, the next one of its kind does not find."""
    for _ in range(3):
        found = rig.report("surroundings.notes")["found"]
        expect(not found, f"left by an earlier stage: {', '.join(found)}")


@check
def checkpoint(rig: Rig) -> None:
    """A checkpoint survives the stage being killed, and is there again at the next try."""
    kept = rig.root / "checkpoints" / "kept"
    first = rig.see("artefacts.keeps", then="sleep", seconds=rig.deadline, checkpoint=kept)
    first.ended("timeout")
    lives = rig.report("artefacts.keeps", then="end", checkpoint=kept)["lives"]
    expect(lives == 2, f"the second try found {lives - 1} earlier ones")


@check
def oracle(rig: Rig) -> None:
    """The query oracle answers, counts, refuses what is over budget, and grants nothing else."""
    (seen,) = rig.finish(rig.with_oracle(rig.job("oracle.asks")))
    report = seen.report
    expect(report["answers"] == [[1.0, 1.0, 1.0]] * 2, f"it answered {report['answers']}")
    expect(report["refused"] == "QueryRefused" and report["left"] == [0, 0], report)
    expect(not report["granted"], f"the attack holds {report['granted']}")
    assert seen.job.service is not None
    counts = seen.job.service.folder / "out" / "counts.npy"
    expect(counts.is_file(), "the oracle left no counts")


@check
def oracle_fails(rig: Rig) -> None:
    """An oracle that cannot start is the stage's failure, told at once."""
    (seen,) = rig.finish(rig.with_oracle(rig.job("oracle.asks"), fail=True))
    expect(seen.result.status != "ok", "the stage was ok without an oracle")
    expect("cannot start" in seen.result.reason, seen.result.reason)
    expect(seen.result.seconds < 10, f"told after {seen.result.seconds:.0f} s")


@check
def harness_killed(rig: Rig) -> None:
    """A harness that is killed (kill -9) leaves no stage running."""
    job = rig.job("limits.leaves", alive=60)
    rig.abandon(job)
    expect_silence(rig.executor, rig.checkpoint(job), seconds=3)


@check
def parent_killed(rig: Rig) -> None:
    """A stage that kills its parent ends in a status, and the next one runs."""
    seen = rig.see("endings.kills_parent")
    expect(seen.result.status in ("ok", "module_error", "infra_error"), seen.result)
    expect(rig.report("endings.fine") == {"fine": True}, "the next stage reported nothing")


@check
def close_ends_all(rig: Rig) -> None:
    """``close()`` ends every process of every stage."""
    job = rig.job("limits.leaves", alive=60)
    rig.executor.start(job)
    wait_for_beats(rig.checkpoint(job))
    rig.executor.close()  # the last check: nothing can be run after it
    expect_silence(rig.executor, rig.checkpoint(job))
