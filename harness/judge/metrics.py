"""The door to everything that scores: the table of metrics and one function a task.

A metric whose denominator is empty is absent with the reason; one that was never asked for (a
control where none is planned) is not there at all.
"""

from harness.judge.classification import classification, predicted_classes
from harness.judge.flipped import Comparisons, Flipped, flipped, turned
from harness.judge.maps import Flips, confusion, flips, moves
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
    "CLEAN",
    "HEADLINE",
    "METRICS",
    "Absent",
    "Comparisons",
    "Difference",
    "Flipped",
    "Flips",
    "Judged",
    "Metrics",
    "Rate",
    "Trait",
    "WorstCase",
    "classification",
    "confusion",
    "damage",
    "decisions",
    "flipped",
    "flips",
    "image_iou",
    "miou_difference",
    "moves",
    "predicted_classes",
    "ranking",
    "segmentation",
    "turned",
    "worst_case_miou",
]
