"""Table of perturbation sizes: one row a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow
from harness.report.site import format

_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("linf_max", "L∞, largest", format.radius),
    ("linf_mean", "L∞, mean", format.radius),
    ("l2_mean", "L2, mean", format.number),
    ("rmse", "RMSE", format.number),
    ("psnr", "PSNR, dB", format.decibels),
    ("ssim", "SSIM", format.similarity),
    ("changed", "Changed pixels", format.number),
    ("common", "Input-agnostic share", format.similarity),
    ("identical", "Unchanged inputs", format.count),
)
"""Field of the record's ``perturbation``, its title, its format."""


@dataclass(frozen=True)
class Changes:
    """Table of perturbation sizes.

    Attributes:
        titles: titles of the columns.
        rows: seed and texts of each row.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def changes(lines: Sequence[CellRow]) -> Changes | None:
    """Return the perturbation sizes of some seeds; ``None`` where none was measured."""
    found = [(line.seed, line.record.perturbation or {}) for line in lines if line.record]
    found = [(seed, sizes) for seed, sizes in found if sizes]
    shown = [column for column in _COLUMNS if any(column[0] in sizes for _, sizes in found)]
    if not shown:
        return None
    return Changes(
        tuple(title for _, title, _ in shown),
        tuple(
            (
                seed,
                tuple(to_text(sizes[name]) if name in sizes else "–" for name, _, to_text in shown),
            )
            for seed, sizes in found
        ),
    )
