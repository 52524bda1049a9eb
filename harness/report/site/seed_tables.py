"""Tables with one row a seed: perturbation sizes, health of gradients, attacks in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import CellRow
from harness.report.site import format

Columns = Sequence[tuple[str, str, Callable[[float], str]]]
"""Name of a figure, its title, its format."""

SIZES: Columns = (
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
"""Columns of the record's ``perturbation``."""

HEALTH: Columns = (
    ("unlimited_success", "Probe: wrong without a limit, %", format.percent),
    ("probe_loss_rose", "Probe: loss rises, %", format.percent),
    ("probe_gradient_gain", "Probe: gain over random", format.number),
    ("probe_gradient_agreement", "Probe: agreement", format.number),
    ("probe_loss_cosine", "Probe: training loss along margin", format.number),
    ("probe_end_zero_gradients", "Probe: no gradient, %", format.percent),
    ("probe_logit_spread", "Probe: spread of logits", format.number),
    ("backward_passes", "Backward passes", format.number),
    ("start_zero_gradients", "No gradient, %", format.percent),
    ("saturated_loss", "Flat loss, %", format.percent),
    ("gradient_gain", "Gain over random", format.number),
    ("gradient_agreement", "Agreement", format.number),
)
"""Columns of the record's ``health``: of the network's probe, then of the attack's own passes."""


@dataclass(frozen=True)
class SeedTable:
    """Table with one row a seed.

    Attributes:
        titles: titles of the columns.
        rows: seed and texts of each row.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def changes(lines: Sequence[CellRow]) -> SeedTable | None:
    """Return the perturbation sizes of some seeds; ``None`` where none was measured."""
    return _table([(x.seed, x.record.perturbation or {}) for x in lines if x.record], SIZES)


def health(lines: Sequence[CellRow]) -> SeedTable | None:
    """Return the health of gradients of some seeds; ``None`` where none was measured."""
    return _table([(x.seed, x.record.health or {}) for x in lines if x.record], HEALTH)


def handed(lines: Sequence[CellRow]) -> SeedTable | None:
    """Return what each of several attacks in order broke; ``None`` where there is one attack."""
    found = [(x.seed, x.record.handed) for x in lines if x.record and x.record.handed]
    labels = tuple(dict.fromkeys(one.attack for _, steps in found for one in steps))
    if not labels:
        return None
    rows = []
    for seed, steps in found:
        broken = {one.attack: f"{one.broken:,} of {one.examples:,}" for one in steps}
        rows.append((seed, tuple(broken.get(label, "–") for label in labels)))
    return SeedTable(labels, tuple(rows))


def _table(seeds: Sequence[tuple[int, Mapping[str, float]]], columns: Columns) -> SeedTable | None:
    found = [(seed, figures) for seed, figures in seeds if figures]
    shown = [column for column in columns if any(column[0] in figures for _, figures in found)]
    if not shown:
        return None
    return SeedTable(
        tuple(title for _, title, _ in shown),
        tuple(
            (seed, tuple(as_text(x[name]) if name in x else "–" for name, _, as_text in shown))
            for seed, x in found
        ),
    )
