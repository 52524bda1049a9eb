"""Clean inputs called the target, and teachers, by hand-made predictions."""

import numpy as np
import pytest

from harness.judge.metrics import METRICS, Absent, Rate, judge_teacher, target_rate

Y = np.array([0, 1, 2, 1, 0, 2])
ZERO = np.zeros(6, int)


def logits(said, classes=3):
    return np.eye(classes)[said]


def kn(figure):
    assert isinstance(figure, Rate), figure
    return figure.k, figure.n


def test_clean_inputs_of_the_target_class_do_not_count_as_called_so():
    # two of class 0 are called 0, which is right; of the other four one is
    assert kn(target_rate(logits([0, 0, 2, 1, 0, 1]), Y, ZERO)) == (1, 4)
    # wrong or right plays no part
    assert kn(target_rate(logits([1, 2, 1, 2, 1, 1]), Y, ZERO)) == (0, 4)


def test_without_an_input_of_another_class_there_is_no_rate():
    for y in (np.zeros(3, int), np.zeros(0, int)):
        for outputs in (logits(y), np.stack([logits(y)] * 2)):
            figure = target_rate(outputs, y, np.zeros(len(y), int))
            assert figure == Absent("no input is of another class than the target")
    assert target_rate(logits([0]), np.array([1]), Absent("no meaning")) == Absent("no meaning")


def test_an_output_that_is_not_finite_calls_nothing():
    outputs = logits([0, 0, 0, 0, 0, 0])
    outputs[1] = np.nan
    assert kn(target_rate(outputs, Y, ZERO)) == (3, 4)


def test_the_rate_of_a_random_network_is_the_mean_over_draws():
    draws = np.stack([logits([0, 0, 2, 1, 0, 1]), logits([0, 0, 0, 0, 0, 2])])
    figure = target_rate(draws, Y, ZERO)
    assert isinstance(figure, Rate)
    assert figure.value == pytest.approx((1 / 4 + 3 / 4) / 2)


def test_a_teacher_and_its_control_have_figures_of_their_own():
    outputs = {
        "teacher_before": logits([0, 1, 2, 0, 1, 2]),  # four right, of which three are not 0
        "teacher_after": logits([0, 0, 0, 0, 0, 2]),
        "control_teacher_before": logits([0, 1, 2, 1, 0, 2]),
        "control_teacher_after": logits([0, 1, 2, 1, 0, 0]),
    }
    found = judge_teacher("classification", outputs, Y, ZERO)
    assert {name: kn(figure) for name, figure in found.items()} == {
        "teacher_accuracy": (4, 6),
        "teacher_success_rate": (2, 3),
        "control_teacher_accuracy": (6, 6),
        "control_teacher_success_rate": (1, 4),
    }
    for name in found:
        assert "classification" in METRICS[name].tasks
    untargeted = judge_teacher("classification", outputs, Y, None)
    assert kn(untargeted["teacher_success_rate"]) == (2, 4)


def test_without_a_trigger_or_a_control_there_is_accuracy_alone():
    found = judge_teacher("classification", {"teacher_before": logits([0, 1, 2, 0, 1, 2])}, Y, None)
    assert {name: kn(figure) for name, figure in found.items()} == {"teacher_accuracy": (4, 6)}


def test_empty_denominators_of_a_teacher_are_absent():
    wrong = {"teacher_before": logits([1, 2]), "teacher_after": logits([0, 0])}
    found = judge_teacher("classification", wrong, np.array([2, 1]), np.zeros(2, int))
    assert kn(found["teacher_accuracy"]) == (0, 2)
    assert found["teacher_success_rate"] == Absent(
        "no input was right before the attack and not of the target class"
    )
    target = {"teacher_before": logits([0, 0]), "teacher_after": logits([0, 0])}
    found = judge_teacher("classification", target, np.zeros(2, int), np.zeros(2, int))
    assert isinstance(found["teacher_success_rate"], Absent)
    empty = {"teacher_before": logits([]).reshape(0, 3)}
    found = judge_teacher("classification", empty, np.zeros(0, int), None)
    assert isinstance(found["teacher_accuracy"], Absent)


def test_random_teachers_are_judged_in_all_draws():
    before = np.stack([logits([0, 1, 2, 1, 0, 2]), logits([0, 1, 2, 1, 1, 2])])
    after = np.stack([logits([0, 1, 2, 1, 0, 2]), logits([0, 0, 2, 1, 0, 2])])
    outputs = {"teacher_before": before, "teacher_after": after}
    found = judge_teacher("classification", outputs, Y, ZERO)
    assert found["teacher_accuracy"].value == pytest.approx(11 / 12)
    assert kn(found["teacher_success_rate"]) == (1, 4)


def test_a_ranking_teacher_has_the_accuracy_of_its_comparisons():
    y = np.array([[0, 1, 1, 0], [1, 0, 1, 0]])
    found = judge_teacher("ranking", {"teacher_before": np.array([[2.0], [1.0]])}, y, None)
    assert kn(found["teacher_accuracy"]) == (1, 2)
