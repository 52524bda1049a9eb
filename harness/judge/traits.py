"""Table of metrics: key, title, unit and direction of each figure."""

from __future__ import annotations

from dataclasses import dataclass

CLASSIFICATION, RANKING, SEGMENTATION = "classification", "ranking", "segmentation"

HEADLINE = {CLASSIFICATION: "robust_accuracy", RANKING: "accuracy", SEGMENTATION: "miou"}
"""Task → metric that ranks defences."""

CLEAN = {CLASSIFICATION: "clean_accuracy", RANKING: "clean_accuracy", SEGMENTATION: "clean_miou"}
"""Task → clean figure that is shown beside the headline."""

_RANGE = {CLASSIFICATION: 1.0, RANKING: 0.5, SEGMENTATION: 1.0}
"""Task → distance between a perfect and a useless score: a ranker at one half is guessing."""


@dataclass(frozen=True)
class Trait:
    """One metric.

    Attributes:
        name: key in records.
        title: name on pages.
        of: the denominator, in words; empty where the figure is no share of anything.
        unit: ``%`` (a fraction, shown in per cent), ``points`` (a signed difference of fractions)
            or empty.
        higher_is_better: from the defender's side.
        tasks: where the metric is defined.
        damage: the rule that turns a value into a damage fraction: ``lost`` (what is missing to 1,
            over the task's range), ``broken`` (the value itself), ``relative`` (the share of the
            clean value that is gone), or ``None``: never coloured.
    """

    name: str
    title: str
    of: str
    unit: str
    higher_is_better: bool
    tasks: tuple[str, ...]
    damage: str | None = None


_RATES = (CLASSIFICATION, RANKING)
_CLASS = (CLASSIFICATION,)
_RANK = (RANKING,)
_MAPS = (SEGMENTATION,)
_ALL = (CLASSIFICATION, RANKING, SEGMENTATION)
_SLICE = "examples of the slice"
_RIGHT = "inputs right before the attack"
_OTHER = "inputs right before the attack (targeted: and not of the target class)"
_NOT_TARGET = "examples of the slice that are not of the target class"
_TEACHER = "test examples of the teacher's own data"
_TEACHER_OTHER = f"{_TEACHER}, right before the attack (targeted: and not of the target class)"
_PIXELS = "labelled pixels"
_CLASSES = "mean over classes with a pixel in labels or predictions, pooled over images"


def _control(name: str, title: str) -> tuple[Trait, ...]:
    """Return the rows of one control of a backdoor."""
    rates = (
        ("success_rate", f"Success on the {title}", _OTHER, "broken"),
        ("success_rate_all", f"Success on the {title}, target class kept", _RIGHT, "broken"),
        ("untargeted_success_rate", f"Made wrong in any way on the {title}", _RIGHT, "broken"),
        ("target_rate_clean", f"Clean inputs that the {title} calls the target", _NOT_TARGET, None),
    )
    return tuple(
        Trait(f"{name}_{rate}", words, of, "%", False, _CLASS, damage)
        for rate, words, of, damage in rates
    )


def _teacher(prefix: str, title: str) -> tuple[Trait, ...]:
    """Return the rows of one network that a student starts from."""
    accuracy, success = f"Accuracy of the {title}", f"Success on the {title}"
    rate = f"{prefix}teacher_success_rate"
    return (
        Trait(f"{prefix}teacher_accuracy", accuracy, _TEACHER, "%", True, _RATES),
        Trait(rate, success, _TEACHER_OTHER, "%", False, _CLASS, "broken"),
    )


# fmt: off
_TABLE = (
    Trait("clean_accuracy", "Clean accuracy", _SLICE, "%", True, _RATES),
    Trait("constant_accuracy", "Accuracy of one class for all inputs, the most frequent", _SLICE,
          "%", True, _CLASS),
    Trait("accuracy", "Accuracy under attack", _SLICE, "%", True, _RATES, "lost"),
    Trait("robust_accuracy", "Right clean and attacked", _SLICE, "%", True, _RATES, "lost"),
    Trait("accuracy_mean", "Accuracy under attack, mean over draws", _SLICE, "%", True, _RATES,
          "lost"),
    Trait("robust_accuracy_mean", "Right clean and attacked, mean over draws", _SLICE, "%", True,
          _RATES, "lost"),
    Trait("attack_success_rate", "Attack success", _OTHER, "%", False, _ALL, "broken"),
    Trait("targeted_success_rate", "Targeted success",
          "labelled pixels right before the attack and not of their target class", "%", False,
          _MAPS, "broken"),
    Trait("attack_success_rate_all", "Attack success, target class kept", _RIGHT, "%", False,
          _CLASS, "broken"),
    Trait("untargeted_success_rate", "Made wrong in any way", _RIGHT, "%", False,
          _CLASS, "broken"),
    Trait("target_rate_clean", "Clean inputs called the target class", _NOT_TARGET, "%", False,
          _CLASS),
    *_control("control", "control"),
    *_control("clean_form", "clean-form control"),
    *_teacher("", "teacher"),
    *_teacher("control_", "teacher without the attack"),
    *_teacher("clean_form_", "teacher of the clean form"),
    Trait("median_distance", "Median distance to the nearest wrong input", "", "", True, _CLASS),
    Trait("certified_accuracy", "Certified accuracy at the radius", _SLICE, "%", True, _CLASS),
    Trait("average_certified_radius", "Average certified L2 radius", "", "", True, _CLASS),
    Trait("accuracy_drop", "Accuracy drop", _SLICE, "points", False, _RATES),
    Trait("flip_rate", "Predictions that change", f"{_SLICE}, or {_PIXELS}", "%", False, _ALL),
    Trait("confident_95", "Attacked inputs answered with a confidence of 0.95 or more", _SLICE, "%",
          False, _CLASS),
    Trait("confident_99", "Attacked inputs answered with a confidence of 0.99 or more", _SLICE, "%",
          False, _CLASS),
    Trait("attempts_all_classes", "Attempts until each class has an input of confidence 0.99", "",
          "", True, _CLASS),
    Trait("draws_differ", "Clean predictions that differ between two draws",
          f"{_SLICE}, or {_PIXELS}", "%", False, _ALL),
    Trait("clean_auc", "Clean AUC", "", "", True, _RANK),
    Trait("auc", "AUC under attack", "", "", True, _RANK, "lost"),
    Trait("clean_f1", "Clean F1 of label +1", "", "", True, _RANK),
    Trait("f1", "F1 of label +1 under attack", "", "", True, _RANK),
    Trait("poison_fit", "Fit to the edited training set", "training comparisons, as edited", "%",
          True, _RANK),
    Trait("flips_wrong", "Edits where the clean ranker was wrong", "edited training comparisons",
          "%", True, _RANK),
    Trait("flip_margin", "Mean |decision| of the clean ranker on edits",
          "edited training comparisons", "", False, _RANK),
    Trait("clean_miou", "Clean mIoU", _CLASSES, "%", True, _MAPS),
    Trait("miou", "mIoU under attack", _CLASSES, "%", True, _MAPS, "relative"),
    Trait("miou_mean", "mIoU under attack, mean over draws", _CLASSES, "%", True, _MAPS,
          "relative"),
    Trait("miou_drop", "mIoU drop", "", "points", False, _MAPS),
    Trait("miou_drop_relative", "Relative mIoU drop", "clean mIoU", "%", False, _MAPS, "broken"),
    Trait("clean_pixel_accuracy", "Clean pixel accuracy", _PIXELS, "%", True, _MAPS),
    Trait("pixel_accuracy", "Pixel accuracy under attack", _PIXELS, "%", True, _MAPS, "lost"),
    Trait("clean_class_accuracy", "Clean mean class accuracy", "mean over classes with a label",
          "%", True, _MAPS),
    Trait("class_accuracy", "Mean class accuracy under attack", "mean over classes with a label",
          "%", True, _MAPS, "lost"),
    Trait("clean_image_mean_iou", "Clean image-mean mIoU",
          "mean over images of the mean over classes labelled there", "%", True, _MAPS),
    Trait("image_mean_iou", "Image-mean mIoU under attack",
          "mean over images of the mean over classes labelled there", "%", True, _MAPS, "relative"),
    Trait("miou_8bit", "mIoU under attack, rounded to 8 bits", _CLASSES, "%", True, _MAPS,
          "relative"),
    Trait("pixel_accuracy_8bit", "Pixel accuracy under attack, rounded to 8 bits", _PIXELS, "%",
          True, _MAPS, "lost"),
)
# fmt: on

METRICS: dict[str, Trait] = {row.name: row for row in _TABLE}
"""Name → metric."""


def damage(metric: str, task: str, value: float, clean: float | None = None) -> float | None:
    """Compute the damage of a value, from 0 (none) to 1 (total), on one scale for the whole site.

    Args:
        metric: a key of ``METRICS``.
        task: decides the range of ``lost``.
        value: the metric's value.
        clean: the clean value, which the rule ``relative`` needs.

    Returns:
        A fraction in [0, 1], or ``None`` where the metric has no rule or the clean value is missing
        or not positive.

    >>> damage("robust_accuracy", "classification", 0.25)
    0.75
    >>> damage("accuracy", "ranking", 0.45)
    1.0
    >>> damage("miou", "segmentation", 0.2, clean=0.8)
    0.75
    """
    rule = METRICS[metric].damage
    if rule is None or (rule == "relative" and not (clean and clean > 0)):
        return None
    if rule == "lost":
        raw = (1 - value) / _RANGE[task]
    elif rule == "relative":
        raw = 1 - value / (clean or 1.0)
    else:
        raw = value
    return min(1.0, max(0.0, raw))
