"""Confidence of answers to attacked inputs, and attempts until every class is reached, by hand."""

import numpy as np
import pytest

from harness.judge.confidence import NO_LOGITS, are_shares, confidence_figures, confidences
from harness.judge.metrics import METRICS, Absent, Rate

NAMES = ("cat", "dog", "owl")


def answers(*rows, classes=3):
    """Logits of answers: a class and its confidence, the rest shared by the others equally."""
    found = np.zeros((len(rows), classes))
    for row, (label, confidence) in zip(found, rows, strict=True):
        row[label] = np.log(confidence * (classes - 1) / (1 - confidence))
    return found


def counts(figures):
    shares = [figures[name] for name in ("confident_95", "confident_99")]
    assert all(isinstance(one, Rate) for one in shares), figures
    return [(one.k, one.n) for one in shares]


def test_shares_count_the_confidence_and_attempts_the_first_row_of_the_last_class():
    figures = confidence_figures(
        answers((0, 0.999), (1, 0.96), (0, 0.999), (1, 0.995), (2, 0.94), (2, 0.991), (1, 0.999)),
        NAMES,
    )
    assert counts(figures) == [(6, 7), (5, 7)]
    assert figures["attempts_all_classes"] == Rate(6.0, None, None, 0.95, "count")
    for name in figures:
        assert METRICS[name].tasks == ("classification",)


@pytest.mark.parametrize(("logits", "most"), [([5.0, 5.0, -99], 0.5), ([2.0, 2.0, 2.0], 1 / 3)])
def test_equal_logits_share_the_confidence(logits, most):
    assert confidences(np.array([logits]))[0] == pytest.approx(most)
    assert counts(confidence_figures(np.array([logits]))) == [(0, 1), (0, 1)]


def test_a_confidence_of_just_the_limit_counts():
    just = answers((0, 0.95 + 1e-9), (0, 0.95 - 1e-9), (0, 0.99 + 1e-9), (0, 0.99 - 1e-9))
    assert counts(confidence_figures(just)) == [(3, 4), (1, 4)]


def test_a_row_that_is_not_finite_is_never_confident_and_reaches_nothing():
    outputs = answers(*((k, 0.999) for k in (0, 1, 2, 2)))
    outputs[2, 0], outputs[1, 1] = np.nan, np.inf
    figures = confidence_figures(outputs, NAMES)
    assert counts(figures) == [(2, 4), (2, 4)]
    assert figures["attempts_all_classes"] == Absent(
        "never reached in 4 attempts: 1 of 3 classes (dog)"
    )
    nothing = confidence_figures(np.full((2, 3), -np.inf))
    assert counts(nothing) == [(0, 2), (0, 2)]


def test_large_logits_do_not_overflow():
    figures = confidence_figures(np.diag([1e30, 3e38, 2e4]).astype(np.float32))
    assert counts(figures) == [(3, 3), (3, 3)]
    assert figures["attempts_all_classes"].value == 3


def test_classes_that_were_never_reached_are_counted_and_the_first_are_named():
    unsure = answers((0, 0.98), (1, 0.98), (2, 0.98))
    assert confidence_figures(unsure, NAMES)["attempts_all_classes"] == Absent(
        "never reached in 3 attempts: 3 of 3 classes (cat, dog, owl)"
    )
    many = confidence_figures(answers((3, 0.999), classes=20), NAMES)["attempts_all_classes"]
    assert isinstance(many, Absent)
    assert many.reason.startswith("never reached in 1 attempts: 19 of 20 classes (class 0, class 1")
    assert many.reason.endswith("class 10 and 9 more)")


def test_without_an_input_nothing_is_counted():
    figures = confidence_figures(np.zeros((0, 3)), NAMES)
    assert figures["confident_99"] == Absent("the slice is empty")
    assert isinstance(figures["attempts_all_classes"], Absent)


def test_of_several_draws_the_most_confident_counts():
    first = answers((0, 0.999), (0, 0.97), (2, 0.5))
    second = answers((1, 0.99999), (1, 0.5), (2, 0.992))
    figures = confidence_figures(np.stack([first, second]), NAMES)
    assert counts(figures) == [(3, 3), (2, 3)]
    # the first row reaches class 1, not class 0 of its less confident draw as well
    assert figures["attempts_all_classes"].reason.endswith("1 of 3 classes (cat)")


def test_probabilities_and_votes_are_no_logits():
    for outputs in (np.eye(3, dtype=np.float32), np.full((2, 4, 3), 1 / 3, np.float32)):
        assert are_shares(outputs)
        assert set(confidence_figures(outputs).values()) == {Absent(NO_LOGITS)}
    assert not are_shares(np.log(np.full((2, 3), 1 / 3)))
    assert not are_shares(np.full((2, 3), np.nan))
    assert not are_shares(np.array([[1.0, 0.0], [0.0, 1.2]]))
