"""Segmentation against scikit-learn and torchmetrics; the void rule, bootstrap, greedy choice."""

from itertools import product
from time import perf_counter

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from torchmetrics.functional.classification import multiclass_jaccard_index

from harness.judge import maps as module
from harness.judge.maps import NOT_FINITE
from harness.judge.metrics import (
    METRICS,
    Absent,
    Judged,
    Rate,
    confusion,
    count_not_finite,
    flips,
    image_iou,
    miou_difference,
    moves,
    segmentation,
    worst_case_miou,
)

VOID = 255


def _scene(
    seed: int, n: int = 6, classes: int = 4, size: int = 9, right: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, (n, size, size)).astype(np.uint8)
    guess = rng.integers(0, classes, y.shape).astype(np.uint8)
    seen = np.where(rng.random(y.shape) < right, y, guess)
    y[rng.random(y.shape) < 0.1] = VOID
    return seen, y


def _value(judged: Judged, name: str) -> float:
    figure = (judged.metrics | judged.parts)[name]
    assert isinstance(figure, Rate), figure
    return figure.value


@pytest.mark.parametrize("chunk", [1, 200, 10**6])
def test_confusion_equals_scikit_learns(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    seen, y = _scene(0)
    seen[0, 0, 0], seen[1, 1, 1] = 200, VOID
    counts = confusion(seen, y, 4, VOID)
    assert counts.dtype == np.uint32
    for i in range(len(y)):
        kept = y[i] != VOID
        named = np.minimum(seen[i][kept], 4)
        expected = confusion_matrix(y[i][kept], named, labels=range(5))[:4]
        assert (counts[i] == expected).all()


def test_confusion_refuses_what_is_no_label() -> None:
    with pytest.raises(ValueError, match="neither void"):
        confusion(np.zeros((1, 2, 2), int), np.full((1, 2, 2), 4), 4, VOID)
    with pytest.raises(ValueError, match="neither void"):
        confusion(np.zeros((1, 2, 2), int), np.full((1, 2, 2), VOID), 4, void=None)
    with pytest.raises(ValueError, match="must both be"):
        confusion(np.zeros((1, 2, 3), int), np.zeros((1, 2, 2), int), 4, VOID)


@pytest.mark.parametrize("void", [VOID, None])
def test_moves_equal_scikit_learns_confusion_of_two_predictions(void: int | None) -> None:
    before, y = _scene(0)
    after, _ = _scene(1)
    before[0, 0, :3], after[1, 1, 1], after[0, 0, 0] = VOID, 200, VOID
    kept = (y != VOID) if void is not None else np.ones(y.shape, bool)
    found = moves(before, after, y, 4, void)
    first, last = (np.minimum(part[kept], 4) for part in (before, after))
    assert (found == confusion_matrix(first, last, labels=range(5))).all()
    assert found.sum() == kept.sum()
    assert found[4].any()
    assert found[:, 4].any()


def test_moves_and_flips_tell_the_same_story() -> None:
    before, y = _scene(2)
    after, _ = _scene(3)
    found = moves(before, after, y, 4, VOID)
    assert found.sum() - np.trace(found) == flips(before, after, y, VOID).changed.sum()


def test_image_iou_equals_torchmetrics_image_by_image() -> None:
    seen, y = _scene(4)
    y[0] = np.where(y[0] == 3, VOID, y[0])  # a class that this image has no label of
    y[1] = VOID
    found = image_iou(confusion(seen, y, 4, VOID))
    assert np.isnan(found[1])
    for i in (0, 2, 3, 4, 5):
        kept = torch.from_numpy(y[i] != VOID)
        guess, truth = torch.from_numpy(seen[i])[kept], torch.from_numpy(y[i])[kept]
        each = multiclass_jaccard_index(guess.long(), truth.long(), 4, average="none")
        assert found[i] == pytest.approx(float(each[truth.long().unique()].mean()))


def test_confusion_without_images_or_void() -> None:
    none = np.zeros((0, 2, 2), np.uint8)
    assert confusion(none, none, 3, VOID).shape == (0, 3, 4)
    assert confusion(none[:, :0] + 0, none[:, :0], 3, VOID).shape == (0, 3, 4)
    zeros = np.zeros((1, 2, 2), np.int64)
    assert confusion(zeros - 1, zeros, 2, void=None).tolist() == [[[0, 0, 4], [0, 0, 0]]]


def test_miou_equals_torchmetrics() -> None:
    for seed in range(10):
        seen, y = _scene(seed)
        judged = segmentation(confusion(seen, y, 4, VOID), None, draws=2)
        kept = torch.from_numpy(y != VOID)
        inputs = torch.from_numpy(seen)[kept].long(), torch.from_numpy(y)[kept].long()
        per_class = multiclass_jaccard_index(*inputs, num_classes=4, average="none")
        assert _value(judged, "clean_miou") == pytest.approx(float(per_class.mean()), abs=1e-6)
        for k in range(4):
            assert _value(judged, f"clean_iou[class {k}]") == pytest.approx(
                float(per_class[k]), abs=1e-6
            )
        ignoring = multiclass_jaccard_index(
            torch.from_numpy(seen).long(),
            torch.from_numpy(y).long(),
            num_classes=4,
            ignore_index=VOID,
        )
        assert _value(judged, "clean_miou") == pytest.approx(float(ignoring), abs=1e-6)


def test_the_other_figures_equal_scikit_learns() -> None:
    seen, y = _scene(1)
    after, _ = _scene(2, right=0.2)
    judged = segmentation(
        confusion(seen, y, 4, VOID),
        confusion(after, y, 4, VOID),
        pixels=flips(seen, after, y, VOID),
        draws=50,
    )
    kept = y != VOID
    for prefix, maps in (("clean_", seen), ("", after)):
        assert _value(judged, f"{prefix}pixel_accuracy") == pytest.approx(
            np.mean(maps[kept] == y[kept])
        )
        assert _value(judged, f"{prefix}class_accuracy") == pytest.approx(
            balanced_accuracy_score(y[kept], maps[kept])
        )
        images = [
            np.mean([
                np.sum((m == k) & (t == k) & o) / np.sum(((m == k) | (t == k)) & o)
                for k in range(4) if np.any(t[o] == k)
            ])
            for m, t, o in zip(maps, y, kept, strict=True)
        ]  # fmt: skip
        assert _value(judged, f"{prefix}image_mean_iou") == pytest.approx(np.mean(images), abs=1e-8)
    right = kept & (seen == y)
    assert _value(judged, "flip_rate") == pytest.approx(np.mean(seen[kept] != after[kept]))
    assert _value(judged, "attack_success_rate") == pytest.approx(np.mean(after[right] != y[right]))
    drop = _value(judged, "clean_miou") - _value(judged, "miou")
    assert _value(judged, "miou_drop") == pytest.approx(drop)
    assert _value(judged, "miou_drop_relative") == pytest.approx(
        drop / _value(judged, "clean_miou")
    )
    for name, figure in judged.metrics.items():
        assert "segmentation" in METRICS[name].tasks
        assert isinstance(figure, Rate)
        assert figure.method == "bootstrap"
        assert figure.lo is not None
        assert figure.hi is not None
        assert figure.lo <= figure.value <= figure.hi


def test_a_prediction_of_void_is_a_miss() -> None:
    y = np.zeros((2, 4, 4), np.uint8)
    y[:, 2:] = 1
    y[0, 0, 0] = VOID
    hidden = y.copy()
    hidden[:, :2] = VOID
    judged = segmentation(confusion(y, y, 2, VOID), confusion(hidden, y, 2, VOID), draws=10)
    assert _value(judged, "clean_miou") == 1.0
    assert _value(judged, "iou[class 0]") == 0.0
    assert _value(judged, "iou[class 1]") == 1.0
    assert _value(judged, "pixel_accuracy") == pytest.approx(16 / 31)


def test_a_pixel_that_is_not_finite_misses_its_class_and_hits_none() -> None:
    y = np.array([[[0, 0, 0, 1], [1, 1, VOID, VOID]]], np.uint8)
    seen = np.array([[[0, NOT_FINITE, 1, NOT_FINITE], [1, 1, NOT_FINITE, 0]]], np.uint8)
    counts = confusion(seen, y, 2, VOID)
    # true class, predicted class, of which the last is none; the void pixels are not there
    assert counts.tolist() == [[[1, 1, 1], [0, 2, 1]]]
    judged = segmentation(counts, counts, pixels=flips(y, seen, y, VOID), draws=10)
    # class 0: one hit, three labels, one prediction; class 1: two hits, three labels, three named
    assert _value(judged, "iou[class 0]") == pytest.approx(1 / 3)
    assert _value(judged, "iou[class 1]") == pytest.approx(2 / 4)
    assert _value(judged, "miou") == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert _value(judged, "pixel_accuracy") == pytest.approx(3 / 6)
    assert _value(judged, "attack_success_rate") == pytest.approx(3 / 6)
    assert count_not_finite(seen, y, VOID) == 2
    assert count_not_finite(seen, y) == 3


def test_nothing_finite_is_all_wrong() -> None:
    """Unlike an ``argmax`` of NaN, which names class 0, the background."""
    y = np.zeros((1, 4, 4), np.uint8)
    y[0, 0, 0] = 1
    seen = np.full_like(y, NOT_FINITE)
    judged = segmentation(confusion(seen, y, 2, VOID), None, draws=10)
    for name in ("clean_miou", "clean_pixel_accuracy", "clean_class_accuracy"):
        assert _value(judged, name) == 0
    named = moves(seen, seen, y, 2, VOID)
    assert named.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 16]]


def test_a_class_without_pixels_is_absent_and_said() -> None:
    y = np.zeros((2, 3, 3), np.uint8)
    judged = segmentation(confusion(y, y, 3, VOID), confusion(y + 1, y, 3, VOID), draws=10)
    assert judged.parts["clean_iou[class 1]"] == Absent(
        "the class has no pixel in labels or predictions"
    )
    assert _value(judged, "clean_miou") == 1.0
    assert _value(judged, "miou") == 0.0
    assert judged.notes == (
        "clean mIoU leaves out classes without a pixel in labels or predictions: [1, 2]",
        "mIoU under attack leaves out classes without a pixel in labels or predictions: [2]",
    )


def test_an_images_mean_is_over_the_classes_labelled_there() -> None:
    y = np.zeros((2, 2, 2), np.uint8)
    seen = y.copy()
    seen[0, 0] = 1
    judged = segmentation(confusion(seen, y, 2, VOID), None, draws=10)
    assert _value(judged, "clean_image_mean_iou") == pytest.approx((0.5 + 1) / 2)
    assert _value(judged, "clean_miou") == pytest.approx(0.75 / 2)


def test_undefined_figures_are_absent() -> None:
    y = np.zeros((2, 3, 3), np.uint8)
    wrong = confusion(y + 1, y, 2, VOID)
    judged = segmentation(wrong, wrong, pixels=flips(y + 1, y + 1, y, VOID), draws=10)
    assert judged.metrics["miou_drop_relative"] == Absent("clean mIoU is undefined or below 1 %")
    assert judged.metrics["attack_success_rate"] == Absent("no pixel was right before the attack")
    assert _value(judged, "flip_rate") == 0.0
    void = np.full((2, 3, 3), VOID, np.uint8)
    for counts in (confusion(void, void, 2, VOID), confusion(void[:0], void[:0], 2, VOID)):
        empty = segmentation(counts, counts, draws=10)
        assert empty.metrics["miou"] == Absent("no pixel has a label")
        assert empty.metrics["miou_drop"] == Absent("no pixel has a label")
    alone = segmentation(wrong, None, draws=10)
    assert alone.metrics["miou"] == Absent("there is no prediction under attack")
    assert set(alone.parts) == {"clean_iou[class 0]", "clean_iou[class 1]"}


def test_one_image_has_no_interval() -> None:
    seen, y = _scene(3, n=1)
    form = segmentation(confusion(seen, y, 4, VOID), None, draws=10).metrics["clean_miou"].to_json()
    assert set(form) == {"value", "level", "method"}


def test_bootstrap_equals_a_plain_loop() -> None:
    seen, y = _scene(4, n=12, right=0.5)
    counts = confusion(seen, y, 4, VOID)
    rng = np.random.default_rng(9)
    plain = []
    for _ in range(2000):
        pooled = counts[rng.integers(12, size=12)].sum(axis=0).astype(float)
        hits = np.diagonal(pooled)
        plain.append(np.mean(hits / (pooled.sum(1) + pooled[:, :4].sum(0) - hits)))
    figure = segmentation(counts, None, draws=2000).metrics["clean_miou"]
    assert isinstance(figure, Rate)
    assert (figure.lo, figure.hi) == pytest.approx(
        tuple(np.quantile(plain, [0.025, 0.975])), abs=3e-3
    )


def test_the_drop_is_resampled_in_pairs() -> None:
    seen, y = _scene(5, n=30)
    counts = confusion(seen, y, 4, VOID)
    drop = segmentation(counts, counts, draws=100).metrics["miou_drop"]
    assert isinstance(drop, Rate)
    assert (drop.value, drop.lo, drop.hi) == (0, 0, 0)
    again = [segmentation(counts, counts, draws=100, seed=s).metrics["miou"] for s in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_bootstrap_of_a_whole_slice_is_quick() -> None:
    seen, y = _scene(6, n=100, classes=12, size=24)
    counts = confusion(seen, y, 12, VOID)
    best = min(_seconds(counts) for _ in range(3))
    assert best < 0.1


def _seconds(counts: np.ndarray) -> float:
    start = perf_counter()
    segmentation(counts, counts)
    return perf_counter() - start


def test_difference_of_two_networks() -> None:
    good, y = _scene(7, n=20, right=0.7)
    bad, _ = _scene(8, n=20, right=0.5)
    a, b = confusion(good, y, 4, VOID), confusion(bad, y, 4, VOID)
    result = miou_difference(a, b, draws=500)
    values = [_value(segmentation(c, None, draws=2), "clean_miou") for c in (a, b)]
    assert result.value == pytest.approx(values[0] - values[1])
    assert 0 < result.lo <= result.value <= result.hi
    assert result.p == pytest.approx(1 / 501)
    back = miou_difference(b, a, draws=500)
    assert (back.value, back.p) == pytest.approx((-result.value, result.p))
    assert miou_difference(a, a, draws=100).p == 1.0


def _attacks(seed: int, attacks: int, n: int, classes: int = 3) -> np.ndarray:
    _, y = _scene(seed, n=n, classes=classes, size=5)
    return np.stack([
        confusion(seen, y, classes, VOID)
        for a in range(attacks)
        for seen, _ in [_scene(seed + 100 + a, n=n, classes=classes, size=5, right=0.0)]
    ])  # fmt: skip


def _pooled_miou(confusions: np.ndarray, choice: np.ndarray) -> float:
    chosen = confusions[choice, np.arange(len(choice))]
    return _value(segmentation(chosen, None, draws=2), "clean_miou")


def test_worst_case_is_what_its_choice_gives_and_cannot_be_bettered_by_one_switch() -> None:
    for seed in range(5):
        confusions = _attacks(seed, attacks=3, n=6)
        worst = worst_case_miou(confusions, seed=seed)
        assert worst.miou == pytest.approx(_pooled_miou(confusions, worst.choice), abs=1e-12)
        alone = [_pooled_miou(confusions, np.full(6, a)) for a in range(3)]
        assert worst.miou <= min(alone)
        for image, attack in product(range(6), range(3)):
            other = worst.choice.copy()
            other[image] = attack
            assert _pooled_miou(confusions, other) >= worst.miou - 1e-12


def test_worst_case_is_near_the_best_of_all_choices() -> None:
    confusions = _attacks(3, attacks=2, n=6)
    best = min(_pooled_miou(confusions, np.array(c)) for c in product(range(2), repeat=6))
    assert best <= worst_case_miou(confusions).miou <= best + 0.01


def test_worst_case_of_one_attack_and_of_none_defined() -> None:
    confusions = _attacks(1, attacks=1, n=4)
    worst = worst_case_miou(confusions)
    assert worst.choice.tolist() == [0] * 4
    assert worst.miou == pytest.approx(_pooled_miou(confusions, worst.choice))
    with pytest.raises(ValueError, match="no class"):
        worst_case_miou(np.zeros((1, 2, 3, 4), np.uint32))
