"""Invented confusion matrices for the synthetic suites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.results.codec import pack_counts, pack_moves


def map_figures(held: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Make a record's figures for one image each: many right pixels where the defence holds."""
    n, classes, pixels = len(held), len(names), 120
    before = np.zeros((n, classes, classes + 1), np.uint32)
    after = before.copy()
    for k in range(classes):
        good = pixels - 8 - 2 * k
        before[:, k, k], before[:, k, (k + 1) % classes] = good, pixels - good
        left = np.where(held, good - 4, 20)
        after[:, k, k], after[:, k, (k + 1) % classes] = left, pixels - left
    metrics, parts = {}, {}
    for name, part, counts in (
        ("clean_miou", "clean_iou", before),
        ("miou", "iou", after),
    ):
        metrics[name] = _bootstrapped(miou(counts.sum(axis=0)))
        for k, value in enumerate(iou(counts.sum(axis=0))):
            parts[f"{part}[class {k}]"] = _bootstrapped(value)
    return {
        "metrics": metrics,
        "parts": parts,
        "outcomes": None,
        "confusions": {
            "shape": list(before.shape),
            "classes": list(names),
            "moves": pack_moves(moves(before, after)),
            "before": pack_counts(before),
            "after": pack_counts(after),
        },
    }


def _bootstrapped(value: float) -> dict[str, Any]:
    ends = {"lo": max(0.0, value - 0.03), "hi": min(1.0, value + 0.03)}
    return {"value": value, **ends, "level": 0.95, "method": "bootstrap"}


def iou(counts: np.ndarray) -> list[float]:
    """Plain IoU of each class of one pooled confusion matrix ``[K, K+1]``."""
    square = counts[:, :-1].astype(float)
    inside = np.diag(square)
    return (inside / (square.sum(axis=0) + counts.sum(axis=1) - inside)).tolist()


def miou(counts: np.ndarray) -> float:
    """Their mean."""
    return float(np.mean(iou(counts)))


def moves(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Pooled moves ``[K+1, K+1]`` if pixels of one label changed as few predictions as they can."""
    k = before.shape[1]
    found = np.zeros((k + 1, k + 1), np.int64)
    for first, last in zip(before.reshape(-1, k + 1), after.reshape(-1, k + 1), strict=True):
        stay = np.minimum(first, last).astype(np.int64)
        found += np.diag(stay)
        found += np.outer(first - stay, last - stay) // max(1, int((first - stay).sum()))
    return found
