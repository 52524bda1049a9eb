"""Proven bounds of released networks beside what attacks leave of the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from harness.config.budget import NORMS
from harness.config.manifest_weights import Bound
from harness.results.records import Record

METRIC = "robust_accuracy"


@dataclass(frozen=True)
class ProvenBound:
    """Bound of a verifier, as a manifest states it; see ``config.manifest_weights.Bound``."""

    title: str
    images: str
    of: int
    norm: str
    eps: float
    at_least: int | None
    at_most: int | None
    source: str

    @classmethod
    def of_manifest(cls, bound: Bound) -> ProvenBound:
        """Return the bound of a manifest's entry."""
        return cls(**{one.name: getattr(bound, one.name) for one in fields(cls)})


@dataclass(frozen=True)
class Proven:
    """Bounds of a row, beside what all attacks together leave.

    Attributes:
        bound: the bound that holds for the row; ``None`` where none does.
        left: images that stay right in the worst case, mean over seeds; ``None`` where there is no
            worst case.
        unused: why other bounds of the network say nothing here.
    """

    bound: ProvenBound | None
    left: float | None
    unused: tuple[str, ...] = ()

    @property
    def contradicted(self) -> bool:
        """Whether fewer images are left than are proven to stay right."""
        floor = self.bound.at_least if self.bound else None
        return self.left is not None and floor is not None and self.left < floor

    @property
    def gap(self) -> float | None:
        """Number of images of which nobody knows: left by all attacks, and not proven."""
        floor = self.bound.at_least if self.bound else None
        if self.left is None or floor is None or self.contradicted:
            return None
        return self.left - floor

    @property
    def text(self) -> str:
        """The bound beside the figure, in words; empty without a bound that holds."""
        if self.bound is None:
            return ""
        left = "unknown" if self.left is None else f"{self.left:,g}"
        sign = ">" if self.contradicted else "≤"
        floor = f"{self.bound.at_least:,} proven {sign} " if self.bound.at_least is not None else ""
        gap = "" if self.gap is None else f", gap {self.gap:,g}"
        most = self.bound.at_most
        ceiling = "" if most is None else f"; no more than {most:,} can be right"
        return f"{floor}{left} left of {self.bound.of:,}{gap}{ceiling} ({self.bound.source})"


def beside(
    bounds: Sequence[ProvenBound],
    limits: Mapping[str, Any],
    record: Record | None,
    score: float | None,
) -> Proven:
    """Return the bounds of a network beside what the worst case leaves.

    Args:
        bounds: its bounds.
        limits: fields of the row's budget.
        record: a record of the row; ``None`` without any.
        score: accuracy that is left in the worst case; ``None`` without one.
    """
    bound = bound_of(bounds, limits, record)
    examples = record.examples if record else None
    reasons = [unused_because(one, limits, examples) for one in bounds]
    left = None if bound is None or score is None else round(score * bound.of, 6)
    return Proven(bound, left, tuple(dict.fromkeys(filter(None, reasons))))


def bound_of(
    bounds: Sequence[ProvenBound], limits: Mapping[str, Any], record: Record | None
) -> ProvenBound | None:
    """Return the bound that holds for a cell; the one that proves most if there are several."""
    examples = record.examples if record else None
    found = [one for one in bounds if not unused_because(one, limits, examples)]
    return max(found, key=lambda one: one.at_least or -1, default=None)


def unused_because(bound: ProvenBound, limits: Mapping[str, Any], examples: str | None) -> str:
    """Return why a bound says nothing about a cell; empty where it does.

    Args:
        bound: the bound.
        limits: fields of the cell's budget.
        examples: digest of the images that it was judged on; ``None`` if unknown.
    """
    norm, eps = limits.get("norm"), limits.get("eps")
    if norm != bound.norm or eps is None or not math.isclose(eps, bound.eps, rel_tol=1e-9):
        return f"another radius: {NORMS[bound.norm]} {bound.eps:.4g}"
    if limits.get("per_channel"):
        return "another radius: one for all channels"
    if examples is None:
        return "images that the record does not name"
    return "" if examples == bound.images else f"other images: {bound.title}"


def contradiction(bounds: Sequence[ProvenBound], limits: Mapping[str, Any], record: Record) -> str:
    """Return both sides of a contradiction between a record and a bound; empty without one."""
    metric = record.metrics.get(METRIC)
    found = Proven(bound_of(bounds, limits, record), metric.k if metric else None)
    if not found.contradicted:
        return ""
    assert found.bound is not None
    proven = f"{found.bound.at_least:,} of {found.bound.of:,} are proven to stay right"
    return f"the judge found {found.left:,} right, and {proven} ({found.bound.source})"
