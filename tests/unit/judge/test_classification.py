"""Classification against scikit-learn, the spec's definitions by hand, empty denominators."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score

from harness.judge.metrics import (
    BACKDOOR_CONTROLS,
    METRICS,
    Absent,
    Judged,
    Rate,
    classification,
    damage,
    predicted_classes,
)
from harness.judge.statistics import paired_difference, wilson


def _logits(classes: list[int], outputs: int = 3) -> np.ndarray:
    return np.eye(outputs, dtype=np.float32)[classes]


def _kn(judged: Judged, name: str) -> tuple[int | None, int | None]:
    figure = judged.metrics[name]
    assert isinstance(figure, Rate), figure
    return figure.k, figure.n


def test_accuracies_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, classes = int(rng.integers(1, 80)), int(rng.integers(2, 11))
        y = rng.integers(0, classes, n)
        before, after = rng.normal(size=(2, n, classes)).astype(np.float32)
        judged = classification(before, after, y)
        first, last = before.argmax(axis=1), after.argmax(axis=1)
        expected = {
            "clean_accuracy": accuracy_score(y, first),
            "accuracy": accuracy_score(y, last),
            "robust_accuracy": accuracy_score(np.ones(n), (first == y) & (last == y)),
            "accuracy_drop": accuracy_score(y, first) - accuracy_score(y, last),
            "flip_rate": 1 - accuracy_score(first, last),
            "constant_accuracy": DummyClassifier().fit(before, y).score(before, y),
        }
        for name, value in expected.items():
            figure = judged.metrics[name]
            assert isinstance(figure, Rate)
            assert figure.value == pytest.approx(value)
            assert figure.lo is not None
            assert figure.hi is not None
            assert figure.lo <= figure.value <= figure.hi


def test_untargeted_by_hand() -> None:
    y = np.array([0, 1, 2, 0, 1])
    judged = classification(_logits([0, 1, 2, 1, 0]), _logits([0, 2, 1, 0, 2]), y)
    assert _kn(judged, "clean_accuracy") == (3, 5)
    assert _kn(judged, "accuracy") == (2, 5)
    assert _kn(judged, "robust_accuracy") == (1, 5)
    assert _kn(judged, "attack_success_rate") == (2, 3)
    assert set(judged.metrics).isdisjoint({"attack_success_rate_all", "control_success_rate"})
    bits = {name: values.astype(int).tolist() for name, values in judged.outcomes.items()}
    assert bits == {
        "before": [1, 1, 1, 0, 0],
        "after": [1, 0, 0, 1, 0],
        "success": [0, 1, 1, 0, 0],
        "eligible": [1, 1, 1, 0, 0],
    }
    figure = judged.metrics["robust_accuracy"]
    assert isinstance(figure, Rate)
    assert (figure.lo, figure.hi, figure.level, figure.method) == (*wilson(1, 5), 0.95, "wilson")
    drop = judged.metrics["accuracy_drop"]
    assert isinstance(drop, Rate)
    assert (drop.lo, drop.hi) == paired_difference(both=1, first=2, second=1, neither=1)


def test_targeted_leaves_the_target_class_out() -> None:
    # The backdoor case of the spec: target 0; inputs of class 0 count only in the second figure.
    y = np.array([0, 1, 2, 1, 0, 2])
    before, after = _logits([0, 1, 2, 0, 1, 2]), _logits([0, 0, 1, 0, 0, 2])
    judged = classification(before, after, y, goal=np.zeros(6, int))
    assert _kn(judged, "attack_success_rate") == (1, 3)
    assert _kn(judged, "attack_success_rate_all") == (2, 4)
    assert _kn(judged, "untargeted_success_rate") == (2, 4)
    assert judged.outcomes["success"].tolist() == [False, True, False, False, False, False]
    assert judged.outcomes["eligible"].tolist() == [False, True, True, False, False, True]


def test_control_has_its_own_denominator() -> None:
    y = np.array([1, 1, 2, 0])
    judged = classification(
        _logits([1, 1, 2, 0]), _logits([0, 0, 0, 0]), y, goal=np.zeros(4, int),
        controls={
            "control": (_logits([1, 2, 2, 0]), _logits([0, 0, 2, 0])),
            "clean_form": (_logits([1, 1, 2, 0]), _logits([0, 0, 2, 0])),
        },
    )  # fmt: skip
    assert _kn(judged, "attack_success_rate") == (3, 3)
    assert _kn(judged, "control_success_rate") == (1, 2)
    assert _kn(judged, "clean_form_success_rate") == (2, 3)
    assert _kn(judged, "control_success_rate_all") == (2, 3)
    assert _kn(judged, "control_untargeted_success_rate") == (1, 3)


def test_a_target_without_meaning_is_absent() -> None:
    reason = "the target class is not among the student's"
    judged = classification(_logits([0, 1]), _logits([1, 1]), np.array([0, 1]), goal=Absent(reason))
    assert judged.metrics["attack_success_rate"].to_json() == {"absent": reason}
    assert _kn(judged, "untargeted_success_rate") == (1, 2)
    assert "attack_success_rate_all" not in judged.metrics
    both = {"control": (_logits([0, 1]), _logits([0, 1]))}
    judged = classification(
        _logits([0, 1]), _logits([1, 1]), np.array([0, 1]), goal=Absent(reason), controls=both
    )
    assert judged.metrics["control_success_rate"] == Absent(reason)
    assert _kn(judged, "control_untargeted_success_rate") == (0, 2)
    assert not judged.outcomes["eligible"].any()


def test_empty_denominators_are_absent() -> None:
    wrong, y = _logits([1, 2]), np.array([0, 0])
    untargeted = classification(wrong, wrong, y)
    assert untargeted.metrics["attack_success_rate"] == Absent(
        "no input was right before the attack"
    )
    assert _kn(untargeted, "accuracy") == (0, 2)
    targeted = classification(_logits([0]), _logits([0]), np.array([0]), goal=np.array([0]))
    assert targeted.metrics["attack_success_rate"] == Absent(
        "no input was right before the attack and not of the target class"
    )
    empty = classification(_logits([]), _logits([]), np.array([], int))
    assert {type(figure) for figure in empty.metrics.values()} == {Absent}


def test_without_a_prediction_under_attack() -> None:
    judged = classification(_logits([0]), None, np.array([0]))
    assert _kn(judged, "clean_accuracy") == (1, 1)
    assert judged.metrics["robust_accuracy"] == Absent("there is no prediction under attack")
    assert set(judged.outcomes) == {"before"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_wrong(bad: float) -> None:
    logits = _logits([0, 1])
    logits[1, 2] = bad
    assert predicted_classes(logits).tolist() == [0, -1]
    judged = classification(_logits([0, 1]), logits, np.array([0, 1]))
    assert _kn(judged, "robust_accuracy") == (1, 2)
    assert _kn(judged, "attack_success_rate") == (1, 2)
    assert judged.nonfinite == {"after": 1}
    targeted = classification(_logits([0, 1]), logits, np.array([0, 1]), goal=np.array([2, 2]))
    assert _kn(targeted, "attack_success_rate") == (0, 2)


def test_faults_of_ours_are_exceptions() -> None:
    with pytest.raises(ValueError, match="3 predictions, but 2 rows"):
        classification(_logits([0, 1, 2]), None, np.array([0, 1]))
    with pytest.raises(ValueError, match="not one of the 3 classes"):
        classification(_logits([0]), _logits([0]), np.array([0]), goal=np.array([3]))


def test_json_forms() -> None:
    judged = classification(_logits([0, 1]), _logits([0, 0]), np.array([0, 1]))
    form = judged.metrics["accuracy"].to_json()
    assert list(form) == ["value", "k", "n", "lo", "hi", "level", "method"]
    assert "k" not in judged.metrics["accuracy_drop"].to_json()
    with pytest.raises(ValueError, match="finite"):
        Rate(float("nan"), None, None, 0.95, "wilson")


def test_every_metric_has_a_row_in_the_table() -> None:
    y = np.array([1, 2])
    judged = classification(
        _logits([1, 2]), _logits([0, 2]), y, goal=np.array([0, 0]),
        controls={name: (_logits([1, 2]), _logits([1, 2])) for name in BACKDOOR_CONTROLS},
    )  # fmt: skip
    for name in judged.metrics:
        assert "classification" in METRICS[name].tasks


def test_damage_stays_on_its_scale() -> None:
    assert damage("attack_success_rate", "classification", 0.3) == 0.3
    assert damage("accuracy", "ranking", 0.75) == pytest.approx(0.5)
    assert damage("miou", "segmentation", 0.9, clean=0.6) == 0.0
    assert damage("miou", "segmentation", 0.3) is None
    assert damage("miou", "segmentation", 0.3, clean=0.0) is None
    assert damage("clean_accuracy", "classification", 0.3) is None


def test_the_judge_needs_neither_torch_nor_a_module() -> None:
    code = (
        "import sys, pkgutil, importlib, harness.judge as j\n"
        "names = [module.name for module in pkgutil.iter_modules(j.__path__)]\n"
        "[importlib.import_module(f'harness.judge.{name}') for name in names]\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'torch', 'pandas', 'pydantic', 'sklearn', 'yaml', 'jinja2'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
