"""Checks of the networks that a module makes: repeatable, equal after a rebuild, with gradients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.common.files import load_array
from harness.conformance.runner import CheckResult, SmokeRunner, answers
from harness.planning.graph import Input
from harness.planning.options import PredictOptions
from harness.planning.recipe import StageRecipe
from harness.results.records import Record
from harness.running.recorder import Recorder
from harness.storage.store import Store

NOT_COMPARED = ("log.txt", "curves.jsonl")
"""Files of a stage that differ between equal runs."""
UNDER_NOISE = ("probe", "attack", "votes", "decide")
"""Kinds of stages that differ between equal runs where the harness draws secret noise."""
MOST_ZEROS = 0.5
"""Share of inputs with a gradient of zero, from which on a network counts as masked."""


def check_networks(
    runner: SmokeRunner, records: Mapping[str, Record], name: str
) -> Iterator[CheckResult]:
    """Check that the module's first good cell is repeatable, and its network sound.

    Args:
        runner: has run the module's smoke matrix.
        records: of the matrix, by cell id.
        name: threat model and task, for the results.
    """
    good = [r for r in records.values() if runner.is_own(r, None) and r.status == "ok"]
    own = good[0]
    kind = runner.module.manifest.kind
    yield check_repeat(runner, own, name)
    if kind == "attack":
        return
    if not runner.module.manifest.random:  # its answers differ, in one process or in two
        yield from check_rebuild(runner, own, name)
    yield check_alike(good, name)
    if own.cell.task != "ranking":
        yield check_gradients(runner, own, name)


def check_repeat(runner: SmokeRunner, record: Record, name: str) -> CheckResult:
    """Check that a second run of a cell's own stages writes the same files."""
    cell = runner.plan.cells[record.id]
    own = repeatable(runner, cell.own)
    before = digest_files(runner.store, own)
    with tempfile.TemporaryDirectory(prefix="gauntlet-check-") as folder:
        second = Store(Path(folder) / "store", below=runner.store, hidden=cell.own)
        recorder = Recorder(second, Path(folder), runner.executor.name, "cpu")
        runner.make_scheduler(runner.plan, recorder).run([cell])
        again = digest_files(second, own)
    # a stage whose intermediate artefact was not needed any more did not run again
    different = sorted(file for file in before.keys() & again.keys() if again[file] != before[file])
    return CheckResult(f"same seed, same output {name}", not different, ", ".join(different[:3]))


def repeatable(runner: SmokeRunner, keys: frozenset[str]) -> frozenset[str]:
    """Return the stages of a cell that write the same files again: all, without secret noise."""
    if runner.module.manifest.smoothing is None:
        return keys
    stages = runner.plan.graph.stages
    return frozenset(key for key in keys if stages[key].kind not in UNDER_NOISE)


def digest_files(store: Store, keys: frozenset[str]) -> dict[str, str]:
    """Collect the digests of all files of some stages, by key and name."""
    found = {}
    for key in sorted(keys):
        receipt = store.receipt(key)
        for file, value in (receipt.files if receipt else {}).items():
            if file not in NOT_COMPARED:
                found[f"{key[:8]}/{file}"] = value
    return found


def check_rebuild(runner: SmokeRunner, record: Record, name: str) -> Iterator[CheckResult]:
    """Check that a network rebuilt in a new process gives the outputs of the first process."""
    network = runner.plan.graph.stages[record.stages["network"]]
    part = "clean" if "clean" in network.inputs else "val"
    assert isinstance(network.recipe, StageRecipe)
    recipe = network.recipe.with_options(PredictOptions(32))
    key, failure = runner.run_stage(
        "predict",
        {
            "weights": Input(network.key, ""),
            "x": network.inputs[part],
            "spec": network.inputs["spec"],
        },
        recipe,
    )
    if failure:
        yield CheckResult(f"rebuild {name}", False, failure)
        return
    store = runner.store
    probe = np.asarray(load_array(store.part(network.key, "probe") / "outputs.npy"))
    outputs = np.asarray(load_array(store.part(key, "outputs") / "outputs.npy"))[: len(probe)]
    if record.cell.task == "segmentation":
        equal = bool(np.mean(probe == outputs) > 0.9999)
    else:
        equal = bool(np.allclose(probe, outputs, rtol=1e-4, atol=1e-4))
    detail = (
        "outputs differ after fit → save → rebuild in a new process; keep what training changes in "
        "parameters or buffers"
    )
    yield CheckResult(f"rebuild {name}", equal, "" if equal else detail)


def check_alike(good: Sequence[Record], name: str) -> CheckResult:
    """Check that a network answered attacks as it answers the judge, over draws if it draws."""
    differing = ("noop_differs", "different_under_attack")
    flagged = [flag.text for record in good for flag in record.flags if flag.name in differing]
    return CheckResult(f"answers alike {name}", not flagged, "; ".join(flagged[:1]))


def check_gradients(runner: SmokeRunner, record: Record, name: str) -> CheckResult:
    """Check that a network has gradients: attacks would fail on one that masks them."""
    after = runner.plan.graph.stages[answers(record)]
    subset = record.stages["slice"]
    key, failure = runner.run_stage(
        "gradients",
        {
            "weights": after.inputs["weights"],
            "spec": after.inputs["spec"],
            "slice_x": Input(subset, "x"),
            "slice_y": Input(subset, "y"),
        },
        after.recipe,
    )
    if failure:
        detail = f"{failure}; use gradients.straight_through"
        return CheckResult(f"gradients {name}", False, detail)
    share = float(load_array(runner.store.part(key, "zero") / "share.npy")[0])
    detail = (
        f"{share:.0%} of the inputs have a gradient of exactly zero: "
        "declare gradients: approximate and use gradients.straight_through"
    )
    fine = share < MOST_ZEROS
    return CheckResult(f"gradients {name}", fine, "" if fine else detail)
