"""What the score does with artefacts, where no whole run is needed to see it."""

import numpy as np
import pytest

from harness.common.files import save_array, write_json
from harness.judge.values import Absent
from harness.report.site.classes import class_names, moves_of
from harness.results.codec import pack_moves, unpack_aimed, unpack_confusions
from harness.results.goals import foreign_labels, goal_of
from harness.results.records import Record, RecordedCell
from harness.results.scoring import (
    OutputSpec,
    Score,
    judge_segmentation,
    score,
)
from harness.storage.receipt import ReceiptDraft
from harness.storage.store import Store

KEY = "ab" * 32
INFO = RecordedCell.model_construct(
    threat_model="evasion-query",
    budget={"queries": 5},
    data={"student": "digits"},
    knowledge="none",
    goal="untargeted",
)


def test_an_oracle_that_answered_more_than_the_budget_is_a_violation(tmp_path):
    store = Store(tmp_path / "store")
    save_array(tmp_path / "out" / "oracle" / "counts.npy", np.array([0, 6, 2]))
    store.commit(KEY, tmp_path / "out", ReceiptDraft("attack", "ok", refused_queries=0))
    judged = score(INFO, {"attack": KEY}, store)
    assert judged.status == "budget_violation"
    assert judged.reason == "6 queries for one example, the limit is 5"


@pytest.mark.parametrize(
    ("threat", "data", "foreign"),
    [
        ("evasion", {"student": "a"}, False),
        ("evasion-transfer", {"student": "a", "public": "b"}, True),
        ("evasion-transfer", {"student": "a", "public": "a"}, False),
        ("evasion-transfer", {"student": "a"}, True),
        ("supply-chain", {"student": "a", "public": "b"}, True),
        ("supply-chain", {"student": "a", "public": "b", "attacker": "a"}, False),
        ("supply-chain", {"student": "a", "attacker": "a"}, False),
    ],
)
def test_a_target_class_means_nothing_across_label_spaces(threat, data, foreign, tmp_path):
    info = INFO.model_copy(update={"threat_model": threat, "data": data})
    assert foreign_labels(info) is foreign
    if foreign:
        store = Store(tmp_path / "store")
        assert isinstance(goal_of(info, {"goal": KEY}, store, {}), Absent)


def test_the_target_of_a_poisoned_public_network_is_one_of_its_classes(tmp_path):
    data = {"student": "a", "public": "b"}
    info = INFO.model_copy(update={"threat_model": "backdoor", "data": data})
    store = Store(tmp_path / "store")
    assert isinstance(goal_of(info, {"goal": KEY, "teacher": KEY}, store, {}), Absent)
    assert not foreign_labels(info)  # the student's own training set is edited
    assert not foreign_labels(
        info.model_copy(update={"data": data | {"public": "a"}}), teacher=True
    )


def test_a_segmentation_record_keeps_names_and_moves(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    y[0, :2] = 255
    outputs = {role: rng.integers(0, 4, y.shape).astype(np.uint8) for role in ("before", "after")}
    result = Score()
    spec = OutputSpec(3, 255, ("sky", "road", "car"))
    judge_segmentation(outputs, y, spec, None, result)
    kept = y != 255
    expected = np.zeros((4, 4), int)
    np.add.at(expected, (outputs["before"][kept], outputs["after"][kept]), 1)
    # written by the judge, read by the pages: neither imports the other
    assert (moves_of(result.confusions, 3) == expected).all()
    record = Record.model_construct(confusions=result.confusions)
    assert class_names(record) == ("sky", "road", "car")
    before = unpack_confusions(result.confusions, "before")
    assert before.sum() == kept.sum()


def test_a_targeted_segmentation_record_counts_pixels_that_become_their_target():
    y = np.zeros((2, 4, 4), np.uint8)
    after, goal = y.copy(), np.ones_like(y)
    after[0, 0], after[0, 1] = 1, 2
    outputs, result = {"before": y, "after": after}, Score()
    judged = judge_segmentation(outputs, y, OutputSpec(3, 255, ()), goal, result)
    assert judged.metrics["targeted_success_rate"].value == 4 / 32
    assert judged.metrics["attack_success_rate"].value == 8 / 32
    found = unpack_aimed(result.confusions)
    assert found.reached.tolist() == [4, 0]
    assert unpack_aimed({"shape": [2, 3, 4]}) is None


def test_least_likely_classes_do_not_follow_from_class_maps(tmp_path):
    info = INFO.model_copy(update={"task": "segmentation", "goal": "targeted: least_likely"})
    maps = {"before": np.zeros((2, 4, 4), np.uint8)}
    goal = goal_of(info, {}, Store(tmp_path / "store"), maps)
    assert isinstance(goal, Absent)
    outputs, result = maps | {"after": maps["before"]}, Score()
    judged = judge_segmentation(outputs, maps["before"], OutputSpec(3, 255, ()), goal, result)
    assert judged.metrics["targeted_success_rate"] == goal
    assert "targets" not in result.confusions


def test_what_is_left_after_rounding_stands_beside(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    outputs = {"before": y, "after": (y + 1) % 3, "eight_bit": np.where(y == 0, 1, y)}
    spec, result = OutputSpec(3, 255, ()), Score()
    judged = judge_segmentation(outputs, y, spec, None, result)
    share = float((y != 0).mean())
    assert judged.metrics["pixel_accuracy"].value == 0
    assert judged.metrics["pixel_accuracy_8bit"].value == pytest.approx(share)
    assert 0 < judged.metrics["miou_8bit"].value < share
    assert unpack_confusions(result.confusions, "eight_bit").sum() == y.size


def test_moves_of_a_large_slice_do_not_overflow():
    counts = np.full((3, 3), 2**40)
    assert (moves_of({"moves": pack_moves(counts)}, 2) == counts).all()


@pytest.mark.parametrize("moves", [None, "", "!", "eJwDAAAAAAE=", 3])
def test_moves_that_cannot_be_read_are_none(moves):
    assert moves_of({"moves": moves}, 2) is None
    assert moves_of({}, 2) is None


@pytest.mark.parametrize(
    ("threat", "budget", "judged"),
    [
        ("evasion", {"unbounded": True}, True),
        ("evasion", {"norm": "linf", "eps": 1.0}, False),
        ("poisoning", {"unbounded": True}, False),
    ],
)
def test_confidence_is_judged_where_test_inputs_change_without_a_bound(
    threat, budget, judged, tmp_path
):
    store, stages = Store(tmp_path / "store"), {}
    clean, attacked = 9 * np.eye(3, dtype=np.float32)[[0, 0]], 9 * np.eye(3, dtype=np.float32)[:2]
    for number, (role, outputs) in enumerate({"before": clean, "after": attacked}.items()):
        stages[role] = f"{number:064x}"
        save_array(tmp_path / role / "outputs" / "outputs.npy", outputs)
        store.commit(stages[role], tmp_path / role, ReceiptDraft("predict", "ok"))
    stages["slice"] = KEY
    for name in ("y", "ids"):
        save_array(tmp_path / "slice" / "y" / f"{name}.npy", np.array([0, 0]))
    spec = {"outputs": 3, "void": None, "classes": ["cat", "dog", "owl"]}
    write_json(tmp_path / "slice" / "spec.json", spec)
    store.commit(KEY, tmp_path / "slice", ReceiptDraft("slice", "ok"))
    cell = {"task": "classification", "threat_model": threat, "attack_module": "x"}
    info = INFO.model_copy(update=cell | {"budget": budget})
    metrics = score(info, stages, store).metrics
    assert ("confident_95" in metrics) is judged
    if judged:
        assert metrics["confident_99"].value == 1
        assert (metrics["attempts_all_classes"].absent or "").endswith("1 of 3 classes (owl)")
