"""Figures of teachers from artefacts: what is over budget on their data is no success."""

from itertools import count

import numpy as np
import pytest

from harness.common.files import save_array
from harness.judge import budget as budgets
from harness.judge.values import Absent, Rate
from harness.results.backdoors import has_one_target, load_distances, target_rates, teacher_figures
from harness.results.records import RecordedCell
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store

INFO = RecordedCell.model_construct(
    task="classification",
    threat_model="backdoor",
    goal="untargeted",
    budget={"patch": 1, "target": 0},
)
Y = np.array([0, 1, 2])


@pytest.fixture
def add(tmp_path):
    """A store, and a function that adds a stage with some parts and returns its key."""
    store, numbers = Store(tmp_path / "store"), count()

    def commit(**parts):
        key = f"{next(numbers):064x}"
        for part, arrays in parts.items():
            for name, array in arrays.items():
                save_array(tmp_path / key / part / f"{name}.npy", array)
        store.commit(key, tmp_path / key, ReceiptDraft("stage", "ok"))
        return key

    return store, commit


def stages_with(commit, marked):
    clean = np.zeros((3, 1, 4, 4), np.float32)
    attacked = clean.copy()
    attacked[:, :, :marked, :marked] = 1
    distances = budgets.measure(clean, attacked)
    said = {"teacher_before": Y, "teacher_after": np.zeros(3, int)}
    outputs = {
        role: commit(outputs={"outputs": np.eye(3, dtype=np.float32)[found]})
        for role, found in said.items()
    }
    return outputs | {
        "before": "of the cell itself",
        "teacher_slice": commit(y={"y": Y}),
        "teacher_goal": commit(goal={"goal": np.zeros(3, int)}),
        "teacher_measure": commit(distances=vars(distances)),
    }


def test_a_trigger_that_is_over_budget_on_the_teachers_data_has_no_success_there(add):
    store, commit = add
    within = teacher_figures(INFO, stages_with(commit, 1), store)
    assert isinstance(within["teacher_success_rate"], Rate)
    assert (within["teacher_success_rate"].k, within["teacher_success_rate"].n) == (2, 2)
    over = teacher_figures(INFO, stages_with(commit, 2), store)
    assert over["teacher_accuracy"] == within["teacher_accuracy"]
    assert isinstance(over["teacher_success_rate"], Absent)
    assert "over budget on the teacher's data" in over["teacher_success_rate"].reason


def test_distances_from_before_radii_of_channels_are_read(add):
    store, commit = add
    clean = np.zeros((3, 1, 4, 4), np.float32)
    distances = budgets.measure(clean, clean + np.float32(0.1))
    older = {name: array for name, array in vars(distances).items() if name != "channels"}
    found = load_distances(commit(distances=older), store)
    assert found.channels.shape == (3, 0)
    assert budgets.check_perturbation(found, {"norm": "linf", "eps": 0.2}) is None
    assert budgets.summary(found) == budgets.summary(distances)


def test_only_networks_that_answered_clean_inputs_have_a_target_rate():
    outputs = {"before": np.eye(3)[[0, 0, 1]], "after": np.eye(3)}
    found = target_rates(INFO, outputs, Y, np.zeros(3, int))
    assert {name: (rate.k, rate.n) for name, rate in found.items()} == {"target_rate_clean": (1, 2)}


@pytest.mark.parametrize(
    ("fields", "one"),
    [
        ({}, True),
        ({"goal": "targeted: 3", "budget": {}}, True),
        ({"goal": "targeted: next", "budget": {}}, False),
        ({"budget": {}}, False),
        ({"task": "segmentation"}, False),
    ],
)
def test_one_target_for_all_inputs(fields, one):
    info = INFO.model_copy(update=fields)
    assert has_one_target(info) is one


def test_without_a_target_or_a_teacher_there_are_no_figures(add):
    assert target_rates(INFO, {"before": np.eye(3)}, Y, None) == {}
    assert teacher_figures(INFO, {"teacher": "a network alone"}, add[0]) == {}
