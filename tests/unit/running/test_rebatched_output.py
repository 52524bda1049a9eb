"""Predictions in other batches, as a stage's process left them: form first, then what they say."""

from dataclasses import replace

import numpy as np
import pytest

from harness.common.files import save_array
from harness.executors.base import StageJob
from harness.results.comparisons import dependent, repeated
from harness.running.output_check import check_output, check_outputs, check_shown
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store
from tests.support.jobs import job_file

ROWS, OUTPUTS = np.array([2, 1, 0, 0]), np.zeros((4, 3), np.float32)
KEYS = {"before": "ab" * 32, "after": "cd" * 32}


def checked(folder, *, rebatch=True, outputs=OUTPUTS, repeated=OUTPUTS, rows=ROWS):
    """What is said of the output of a ``predict`` stage on three inputs."""
    save_array(folder / "x" / "x.npy", np.zeros((3, 1, 2, 2), np.float32))
    save_array(folder / "out" / "outputs" / "outputs.npy", np.zeros((3, 3), np.float32))
    for name, array in {"outputs": outputs, "repeated": repeated, "rows": rows}.items():
        if array is not None:
            save_array(folder / "out" / "rebatched" / f"{name}.npy", array)
    options = {"threads": 1, "budget": {}, "batch": 2} | ({"rebatch": True} if rebatch else {})
    file = job_file(stage="predict", inputs={"x": str(folder / "x")}, options=options)
    return check_output(StageJob("ab" * 32, folder, file, 1.0, 1.0))


def test_a_sample_of_the_rows_is_fine(tmp_path):
    assert checked(tmp_path) is None


def test_nothing_is_asked_of_other_predictions(tmp_path):
    assert checked(tmp_path, rebatch=False, outputs=None, repeated=None, rows=None) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rows": None}, "no rebatched/rows.npy"),
        ({"outputs": None}, "no rebatched/outputs.npy"),
        ({"rows": np.array([], np.int64)}, "rows.npy names rows that are not among the inputs"),
        ({"rows": np.array([0, 1, 2, 3])}, "rows.npy names rows that are not among the inputs"),
        ({"rows": np.array([0, 1, 2, -1])}, "rows.npy names rows that are not among the inputs"),
        ({"rows": ROWS.astype(np.int32)}, "rows.npy is of type int32, expected int64"),
        ({"rows": ROWS[:3]}, "outputs.npy has shape [4, 3], expected [3, 3]"),
        ({"outputs": OUTPUTS.astype(np.float64)}, "outputs.npy is of type float64"),
        ({"repeated": None}, "no rebatched/repeated.npy"),
        ({"repeated": OUTPUTS[:3]}, "repeated.npy has shape [3, 3], expected [4, 3]"),
    ],
)
def test_other_files_are_refused(tmp_path, wrong, said):
    assert said in checked(tmp_path, **wrong)


@pytest.mark.parametrize(
    ("own", "control", "share"),
    [(None, 0.0, 0.0), (None, 1.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (None, None, None)],
)
def test_the_cell_s_own_network_is_compared_where_it_was_sampled(tmp_path, own, control, share):
    """Under poisoning ``before`` is the control's network, and ``after`` the cell's own."""
    store = Store(tmp_path / "store")
    outputs = {role: np.eye(3, dtype=np.float32) for role in KEYS}
    for role, moved in {"before": control, "after": own}.items():
        out = tmp_path / role
        save_array(out / "outputs" / "outputs.npy", outputs[role])
        if moved is not None:
            save_array(out / "rebatched" / "rows.npy", ROWS)
            save_array(out / "rebatched" / "outputs.npy", outputs[role][ROWS] + moved)
        store.commit(KEYS[role], out, ReceiptDraft("predict", "ok"))
    assert dependent(KEYS, store, outputs, "classification") == share


@pytest.mark.parametrize("moved", [None, 0.0, 1.0])
def test_answers_to_the_same_batch_are_compared_where_they_were_asked_twice(tmp_path, moved):
    store = Store(tmp_path / "store")
    for role, key in KEYS.items():
        out = tmp_path / role
        save_array(out / "outputs" / "outputs.npy", np.eye(3, dtype=np.float32))
        if role == "before":
            save_array(out / "rebatched" / "rows.npy", ROWS)
            save_array(out / "rebatched" / "outputs.npy", np.eye(3)[ROWS])
            if moved is not None:  # artefacts from before it have none
                save_array(out / "rebatched" / "repeated.npy", np.eye(3)[ROWS] + moved)
        store.commit(key, out, ReceiptDraft("predict", "ok"))
    assert repeated(KEYS, store, "classification") == moved


@pytest.mark.parametrize(
    ("stage", "name", "options"),
    [
        ("predict", "outputs", {"draws": 5}),
        ("attack", "shown", {"samples": 5, "access": "victim"}),
    ],
)
@pytest.mark.parametrize(("task", "one"), [("classification", (3,)), ("segmentation", (2, 2))])
def test_draws_come_first_in_the_shape(tmp_path, stage, name, options, task, one):
    kind = np.float32 if task == "classification" else np.uint8
    for folder in ("x", "slice_x"):
        save_array(tmp_path / folder / "x.npy", np.zeros((4, 1, 2, 2), np.float32))
    inputs = {name: str(tmp_path / name) for name in ("x", "slice_x")}
    file = job_file(stage=stage, inputs=inputs, options={"threads": 1, "budget": {}} | options)
    file = replace(file, spec={**file.spec, "task": task})
    job = StageJob("ab" * 32, tmp_path, file, 1.0, 1.0)
    check = check_outputs if stage == "predict" else check_shown
    path = tmp_path / "out" / name / "outputs.npy"
    save_array(path, np.zeros((5, 4, *one), kind))
    check(job, tmp_path / "out")
    for shape in ((4, *one), (4, 5, *one), (1, 4, *one)):
        save_array(path, np.zeros(shape, kind))
        with pytest.raises(ValueError, match="has shape"):
            check(job, tmp_path / "out")
