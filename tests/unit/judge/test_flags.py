"""Each flag at both sides of its threshold."""

import numpy as np
import pytest

from harness.judge.flags import (
    batch_dependence,
    chance,
    difference,
    disagreement,
    record_flags,
)
from harness.judge.values import Absent, Judged, proportion


def _names(judged: Judged, **changes: object) -> list[str]:
    settings = {
        "task": "classification",
        "outputs": 10,
        "attack": "pgd",
        "different": None,
    } | changes
    return [flag.name for flag in record_flags(judged, **settings)]  # type: ignore[arg-type]


def _judged(**counts: tuple[int, int]) -> Judged:
    counts = {"clean_accuracy": (90, 100)} | counts
    return Judged(metrics={name: proportion(k, n, "empty") for name, (k, n) in counts.items()})


def test_nothing_is_flagged_without_a_reason() -> None:
    assert _names(_judged(attack_success_rate=(80, 90), flip_rate=(80, 100))) == []


@pytest.mark.parametrize(
    ("k", "task", "outputs", "flagged"),
    [
        (15, "classification", 10, True),
        (16, "classification", 10, False),
        (55, "ranking", 1, True),
        (56, "ranking", 1, False),
    ],
)
def test_clean_collapsed(k: int, task: str, outputs: int, flagged: bool) -> None:
    names = _names(_judged(clean_accuracy=(k, 100)), task=task, outputs=outputs)
    assert ("clean_collapsed" in names) is flagged


def test_clean_collapsed_needs_a_clean_score() -> None:
    assert _names(Judged(metrics={"clean_accuracy": Absent("the slice is empty")})) == []
    assert chance("segmentation", 4) == 0.25


def test_noop_differs() -> None:
    assert _names(_judged(flip_rate=(1, 100)), attack="noop") == ["noop_differs"]
    assert _names(_judged(flip_rate=(0, 100)), attack="noop") == []


@pytest.mark.parametrize(
    ("success", "control", "flagged"),
    [
        ((90, 100), (5, 100), False),
        ((90, 100), (95, 100), True),
        ((9000, 10000), (8850, 10000), True),
        ((9000, 10000), (8700, 10000), False),
        ((6, 50), (3, 50), True),
        ((0, 50), (0, 50), False),
    ],
)
def test_control_same(success: tuple[int, int], control: tuple[int, int], flagged: bool) -> None:
    judged = _judged(attack_success_rate=success, control_success_rate=control)
    assert ("control_same" in _names(judged)) is flagged
    assert _names(judged, attack="noop") == []


@pytest.mark.parametrize(("clean_form", "flagged"), [((5, 100), False), ((88, 100), True)])
def test_success_is_read_against_the_clean_form_too(
    clean_form: tuple[int, int], flagged: bool
) -> None:
    judged = _judged(
        attack_success_rate=(90, 100),
        control_success_rate=(5, 100),
        clean_form_success_rate=clean_form,
    )
    found = record_flags(judged, task="classification", outputs=10, attack="badnets")
    assert [flag.name for flag in found] == ["control_same"] * flagged
    assert all("88.0% for the same inputs against a network that starts" in f.text for f in found)


@pytest.mark.parametrize(
    ("task", "unit"),
    [("classification", "examples"), ("ranking", "comparisons"), ("segmentation", "pixels")],
)
def test_nonfinite_outputs(task: str, unit: str) -> None:
    judged = Judged(metrics={}, nonfinite={"before": 1, "after": 3})
    (flag,) = record_flags(judged, task=task, outputs=10, attack="pgd")
    assert flag._asdict() == {
        "name": "nonfinite_outputs",
        "text": f"{unit} with outputs that are not finite count as wrong: "
        "1 before the attack and 3 after the attack",
    }


def test_lost_gradients() -> None:
    assert _names(_judged(), lost=0.01) == _names(_judged(), lost=None) == []
    assert _names(_judged(), lost=0.011) == ["lost_gradients"]


def test_answers_that_hide_how_near_they_are_to_another_class_differ() -> None:
    logits = np.array([[0.0, 1.0], [0.9, 1.0], [5.0, 0.0]])
    assert difference(logits, logits + 1e-3, "classification") == 0.0
    assert difference(logits, 9.0 * np.eye(2)[[1, 1, 0]], "classification") == 1.0
    assert difference(logits, logits[:, ::-1], "classification") == 1.0


def test_different_under_attack() -> None:
    assert _names(_judged(), different=0.01) == []
    assert _names(_judged(), different=0.011) == ["different_under_attack"]


def test_batch_dependent() -> None:
    assert _names(_judged(), dependent=0.01) == []
    assert _names(_judged(), dependent=0.011) == ["batch_dependent"]


def test_undeclared_random() -> None:
    assert _names(_judged(), repeated=0.01, dependent=0.01) == []
    assert _names(_judged(), repeated=0.3, dependent=0.35) == ["undeclared_random"]
    # a network that remembers a batch changes a little there, and everywhere in other batches
    both = ["undeclared_random", "batch_dependent"]
    assert _names(_judged(), repeated=0.1, dependent=1.0) == both


def test_noop_may_differ_as_draws_do() -> None:
    def flagged(changed: int, spread: int) -> bool:
        counts = {"flip_rate": (changed, 100), "draws_differ": (spread, 100)}
        return _names(_judged(**counts), attack="noop") == ["noop_differs"]

    assert not flagged(31, 30)
    assert flagged(32, 30)
    assert not flagged(0, 0)


def test_batch_dependence_by_task() -> None:
    rows = np.array([3, 2, 1, 0, 0])
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    spread = np.ptp(logits)
    for task in ("classification", "ranking"):
        assert batch_dependence(logits, logits[rows], rows, task) == 0.0
        rounded = logits[rows] + np.float32(0.9e-3) * spread
        assert batch_dependence(logits, rounded, rows, task) == 0.0
        moved = logits[rows].copy()
        moved[1, 2] += 1.1e-3 * spread
        assert batch_dependence(logits, moved, rows, task) == 0.2
        moved[4] = np.nan
        assert batch_dependence(logits, moved, rows, task) == 0.4
    # two logits that all but tie: another class without a move
    tie = np.array([[0.0, 1e-6, 1.0], [1.0, 1.0, -1.0]])
    other = np.array([[1.0, 1.0 + 1e-6, -1.0]])
    assert batch_dependence(tie, other, np.array([1]), "classification") == 1.0
    maps = np.zeros((2, 2, 2), np.uint8)
    other = np.array([[[0, 1], [0, 0]], [[0, 0], [0, 0]]], np.uint8)
    assert batch_dependence(maps, other, np.array([1, 0]), "segmentation") == 0.125


def test_disagreement_by_task() -> None:
    logits = np.array([[1.0, 2.0], [2.0, 1.0], [np.nan, 0.0], [np.nan, 0.0]])
    other = np.array([[1.0, 3.0], [1.0, 2.0], [np.nan, 1.0], [0.0, 1.0]])
    assert disagreement(logits, other, "classification") == 0.5
    maps = np.zeros((1, 2, 2), np.uint8)
    assert disagreement(maps, maps + np.array([[0, 1], [0, 0]], np.uint8), "segmentation") == 0.25
    scores = np.array([[0.0], [10.0]])
    assert disagreement(scores, scores + 1e-6, "ranking") == 0.0
    assert disagreement(scores, scores + np.array([[0.0], [1.0]]), "ranking") == 0.5
    assert disagreement(scores * 1000, scores * 1000 + 5, "ranking") == 0.0
    assert disagreement(scores[:0], scores[:0], "ranking") is None
    with pytest.raises(ValueError, match="different shapes"):
        disagreement(maps, maps[0], "segmentation")
