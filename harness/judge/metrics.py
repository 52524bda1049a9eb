"""Interface of the judge's metrics: the table of metrics, and one function for each task.

A metric with an empty denominator is absent with a reason. A metric that is not planned (such as
the control's without a control) is left out.
"""

from harness.judge.backdoors import judge_teacher, target_rate
from harness.judge.classification import (
    BACKDOOR_CONTROLS,
    classification,
    predicted_classes,
)
from harness.judge.confidence import confidence_figures
from harness.judge.flipped import Comparisons, Flipped, flip_mask, judge_flips
from harness.judge.maps import Aimed, Flips, aimed, confusion, count_not_finite, flips, moves
from harness.judge.ranking import decisions, ranking
from harness.judge.segmentation import (
    Difference,
    WorstCase,
    image_iou,
    miou_difference,
    segmentation,
    worst_case_miou,
)
from harness.judge.traits import CLEAN, HEADLINE, METRICS, Trait, damage
from harness.judge.values import Absent, Judged, Metrics, Rate

__all__ = [
    "BACKDOOR_CONTROLS",
    "CLEAN",
    "HEADLINE",
    "METRICS",
    "Absent",
    "Aimed",
    "Comparisons",
    "Difference",
    "Flipped",
    "Flips",
    "Judged",
    "Metrics",
    "Rate",
    "Trait",
    "WorstCase",
    "aimed",
    "classification",
    "confidence_figures",
    "confusion",
    "count_not_finite",
    "damage",
    "decisions",
    "flip_mask",
    "flips",
    "image_iou",
    "judge_flips",
    "judge_teacher",
    "miou_difference",
    "moves",
    "predicted_classes",
    "ranking",
    "segmentation",
    "target_rate",
    "worst_case_miou",
]
