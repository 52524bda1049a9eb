"""Ranking against scikit-learn, with ties, triplets and single-class slices."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from harness.judge.metrics import METRICS, Absent, Judged, Rate, decisions, ranking


def _value(judged: Judged, name: str) -> float:
    figure = (judged.metrics | judged.parts)[name]
    assert isinstance(figure, Rate), figure
    assert figure.lo is not None
    assert figure.hi is not None
    assert 0 <= figure.lo <= figure.value + 1e-12
    assert figure.value - 1e-12 <= figure.hi <= 1
    return figure.value


def _pairs(rng: np.random.Generator, n: int, items: int, attributes: int) -> np.ndarray:
    columns = (
        rng.integers(0, items, n),
        rng.integers(0, items, n),
        rng.choice([-1, 1], n),
        rng.integers(0, attributes, n),
    )
    return np.column_stack(columns)


def test_figures_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = _pairs(rng, 60, 12, 3)
        # Whole numbers, so that ties happen.
        before, after = rng.integers(0, 4, (2, 12, 3)).astype(np.float32)
        judged = ranking(before, after, y)
        label = y[:, 2]
        for prefix, outputs in (("clean_", before), ("", after)):
            s = outputs[y[:, 0], y[:, 3]] - outputs[y[:, 1], y[:, 3]]
            predicted = np.where(s > 0, 1, -1)
            assert _value(judged, f"{prefix}accuracy") == pytest.approx(
                accuracy_score(label, predicted)
            )
            assert _value(judged, f"{prefix}f1") == pytest.approx(f1_score(label, predicted))
            assert _value(judged, f"{prefix}auc") == pytest.approx(roc_auc_score(label, s))
            for k in range(3):
                of = y[:, 3] == k
                expected = accuracy_score(label[of], predicted[of])
                assert _value(judged, f"{prefix}accuracy[attr {k}]") == pytest.approx(expected)


def test_a_tie_predicts_minus_one() -> None:
    y = np.array([[0, 1, 1, 0], [0, 1, -1, 0], [2, 0, 1, 0]])
    judged = ranking(np.array([[1.0], [1.0], [2.0]]), None, y)
    assert judged.outcomes["before"].tolist() == [False, True, True]


def test_triplets_are_strict() -> None:
    # Item 0 is the anchor; 1 is near, 2 is far, 3 is as far as 2.
    outputs = np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 4.0], [0.0, 5.0]])
    outputs += np.array([8.0, -2.0])  # no anchor at the origin
    y = np.array([[0, 1, 2, 1, 0], [0, 2, 1, 1, 0], [0, 2, 3, 1, 0], [0, 2, 1, -1, 0]])
    assert decisions(outputs, y).tolist() == [4.0, -4.0, 0.0, -4.0]
    judged = ranking(outputs, outputs, y)
    assert judged.outcomes["before"].tolist() == [True, False, False, True]
    assert set(judged.parts) == {"clean_accuracy[attr 0]", "accuracy[attr 0]"}


def test_success_counts_what_was_right_before() -> None:
    y = np.array([[0, 1, 1, 0], [1, 0, -1, 0], [1, 0, 1, 0]])
    judged = ranking(np.array([[2.0], [1.0]]), np.array([[1.0], [2.0]]), y)
    figures = {name: figure.to_json() for name, figure in judged.metrics.items()}
    assert (figures["attack_success_rate"]["k"], figures["attack_success_rate"]["n"]) == (2, 2)
    assert (figures["robust_accuracy"]["k"], figures["flip_rate"]["k"]) == (0, 3)
    assert figures["accuracy_drop"]["value"] == pytest.approx(1 / 3)
    assert judged.outcomes["success"].tolist() == [True, True, False]
    assert judged.outcomes["eligible"].tolist() == [True, True, False]
    for name in figures:
        assert "ranking" in METRICS[name].tasks


def test_undefined_figures_are_absent() -> None:
    y = np.array([[0, 1, -1, 1]])
    judged = ranking(np.zeros((2, 2)), np.zeros((2, 2)), y)
    assert judged.metrics["auc"] == Absent("all labels are equal")
    assert judged.metrics["f1"] == Absent("no label and no prediction is +1")
    assert judged.parts["accuracy[attr 0]"] == Absent("no comparison is about attribute 0")
    wrong = ranking(np.array([[2.0, 2.0], [1.0, 1.0]]), np.zeros((2, 2)), y)
    assert wrong.metrics["attack_success_rate"] == Absent("no input was right before the attack")
    assert ranking(np.zeros((2, 1)), None, y[:, [0, 1, 2, 2]] * [1, 1, 1, 0]).metrics[
        "accuracy"
    ] == (Absent("there is no prediction under attack"))


def test_decisions_that_are_not_finite_are_wrong_either_way() -> None:
    y = np.array([[0, 1, 1, 0], [0, 1, -1, 0], [1, 2, 1, 0]])
    outputs = np.array([[np.nan], [2.0], [1.0]])
    judged = ranking(outputs, outputs, y)
    assert judged.outcomes["before"].tolist() == [False, False, True]
    assert judged.nonfinite == {"before": 2, "after": 2}
    assert judged.metrics["auc"] == Absent("a decision is not finite")
    infinite = ranking(np.array([[np.inf], [np.inf], [0.0]]), None, y)
    assert infinite.outcomes["before"].tolist() == [False, False, False]


def test_an_item_with_any_output_that_is_not_finite_makes_its_comparisons_wrong() -> None:
    y = np.array([[0, 1, 1, 0], [2, 1, 1, 0], [1, 2, -1, 1]])
    outputs = np.array([[3.0, np.nan], [1.0, 5.0], [2.0, 6.0]])
    judged = ranking(outputs, None, y)
    assert judged.outcomes["before"].tolist() == [False, True, True]
    assert judged.nonfinite == {"before": 1}
    triplet = np.array([[0, 1, 2, 1, 0], [1, 2, 3, 1, 0]])
    places = np.array([[np.inf, 0.0], [0.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    assert decisions(places, triplet)[1] == 2.0
    assert ranking(places, None, triplet).outcomes["before"].tolist() == [False, True]


def test_an_unknown_arity_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs or triplets"):
        decisions(np.zeros((2, 1)), np.zeros((1, 6), int))
