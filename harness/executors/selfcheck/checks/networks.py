"""Promises about a network that answers an attack: each side keeps its own, the broker the rest."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from harness.common.files import load_array, save_array
from harness.executors.base import Result
from harness.executors.selfcheck.context import EXAMPLES, EndedStage, SelfCheckContext
from harness.executors.selfcheck.errors import expect
from harness.executors.selfcheck.promise_check import promise

PASSES = "networks.passes"
SOON = 20.0
"""Seconds in which an attack must be ended whose network has failed."""


def play(
    context: SelfCheckContext,
    probe: str,
    odd: str = "",
    seconds: float = 30.0,
    **params: Any,  # noqa: ANN401
) -> EndedStage:
    """Run a probe with white-box access to a network that may behave oddly."""
    job = context.jobs.make(probe, seconds=seconds, **params)
    (stage,) = context.finish(context.jobs.with_network(job, odd=odd))
    return stage


def expect_end(result: Result, status: str, by: str, text: str) -> None:
    """Check status, role and reason of an attack's end."""
    fits = (result.status, result.by) == (status, by) and text in result.reason
    expect(fits, f"{result.status} by {result.by}: {result.reason or 'no reason'}")


@promise
def network_answers(context: SelfCheckContext) -> None:
    """A network answers forward and backward passes from a process of its own, and is counted."""
    stage = play(context, PASSES)
    expect(stage.report["gradients"] == [[1.0, 1.0, 1.0, 0.0]] * 2, stage.report)
    expect(stage.result.passes == {"forward": 2, "backward": 2}, stage.result.passes)


@promise
def network_apart(context: SelfCheckContext) -> None:
    """Attack and network reach neither files nor memory of each other."""
    weights = str(context.weights / "network.safetensors")
    found = play(context, "networks.looks", paths=[weights]).report["found"]
    expect(not found, f"the attack reached {', '.join(found)}")
    labels = str(context.data / "y.npy")
    stage = play(context, PASSES, odd=f"looks {labels}")
    expect(stage.result.status == "ok", stage.result.reason)


@promise
def network_patches(context: SelfCheckContext) -> None:
    """What a network's code replaces in its libraries does not reach its attack."""
    report = play(context, PASSES, odd="patches").report
    expect(report["gradients"] == [[1.0, 1.0, 1.0, 0.0]] * 2, report)


@promise
def shown_outputs(context: SelfCheckContext) -> None:
    """What the network answered to the attacked inputs is kept by the broker alone."""
    for odd in ("", "leaves-files"):
        stage = play(context, "networks.shows", odd=odd)
        stage.expect("ok")
        assert stage.job.service is not None
        folder = stage.job.service.folder / "out" / "shown"
        outputs = load_array(folder / "outputs.npy")
        expect(np.array_equal(outputs, np.full((2, 3), 0.5, np.float32)), outputs.tolist())
        first, rows, digest = json.loads((folder / "digests.json").read_text("utf-8"))[0]
        expect((first, rows) == (0, 2) and digest == stage.report["digest"], (first, rows, digest))


@promise
def queries_by_input(context: SelfCheckContext) -> None:
    """A query is charged to the example that it is about, whatever the attack says."""
    data = context.jobs.copy_of_data()
    x = np.zeros((EXAMPLES, 1, 2, 2), np.uint8)
    x[:, 0, 0, 0] = 16 * np.arange(EXAMPLES)
    save_array(data / "x.npy", x)
    job = context.jobs.make("oracle.names_others", data=data)
    (stage,) = context.finish(context.jobs.with_oracle(job))
    report = stage.report
    expect(report["refused"] and report["left"] == [2, 2, 2, 0], report)


@promise
def network_dies(context: SelfCheckContext) -> None:
    """A network that dies while it is asked ends its attack at once, and the failure is its own."""
    result = play(context, PASSES, odd="dies").result
    expect_end(result, "module_error", "victim", "the network's process ended")
    expect(result.seconds < SOON, f"after {result.seconds:.0f} s")


@promise
def network_hangs(context: SelfCheckContext) -> None:
    """A network that hangs while it is asked is the side that timed out."""
    result = play(context, PASSES, odd="hangs", seconds=context.deadline + 3).result
    expect_end(result, "timeout", "victim", "the network did not answer")


@promise
def network_stops(context: SelfCheckContext) -> None:
    """A network that stops its broker, as only the harness does, has failed itself."""
    result = play(context, PASSES, odd="stops").result
    expect_end(result, "module_error", "victim", "told to stop")


@promise
def network_floods(context: SelfCheckContext) -> None:
    """A network that sends something else than answers has broken its contract."""
    result = play(context, PASSES, odd="floods").result
    expect_end(result, "contract_violation", "victim", "a malformed message")


@promise
def network_provoked(context: SelfCheckContext) -> None:
    """A network that fails on inputs that are no pictures is not to blame."""
    for value in (float("nan"), 1e9, -1.0):
        result = play(context, PASSES, odd="picky", value=value).result
        expect_end(result, "contract_violation", "attack", "inputs")
