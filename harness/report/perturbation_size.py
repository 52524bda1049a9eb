"""Size of an attack's change, shown beside figures under an unbounded budget."""

from __future__ import annotations

import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass, fields

from harness.results.records import Record


@dataclass(frozen=True)
class PerturbationSize:
    """Size of a change by several measures; ``None`` where a measure has no value.

    Attributes:
        linf: L∞ distance, of the worst example.
        rmse: root mean square error, mean over examples.
        psnr: peak signal-to-noise ratio in dB, mean over examples that changed at all.
        ssim: structural similarity, mean over examples; 1 for equal images.
    """

    linf: float | None
    rmse: float | None
    psnr: float | None
    ssim: float | None


def perturbation_size(record: Record) -> PerturbationSize | None:
    """Return the size in a record; ``None`` where no attacked input was measured."""
    if not record.perturbation:
        return None
    linf, rmse, psnr, ssim = map(record.perturbation.get, ("linf_max", "rmse", "psnr", "ssim"))
    return PerturbationSize(linf, rmse, psnr, ssim)


def mean_size(sizes: Sequence[PerturbationSize | None]) -> PerturbationSize | None:
    """Return the mean of each measure over the sizes that have it.

    >>> some = PerturbationSize(0.1, 0.02, None, 1.0), PerturbationSize(0.3, 0.04, 20.0, 0.5)
    >>> mean_size([*some, None])
    PerturbationSize(linf=0.2, rmse=0.03, psnr=20.0, ssim=0.75)
    """
    known = [size for size in sizes if size]
    if not known:
        return None
    return PerturbationSize(*(_mean(known, field.name) for field in fields(PerturbationSize)))


def _mean(known: Sequence[PerturbationSize], name: str) -> float | None:
    values = [value for size in known if (value := getattr(size, name)) is not None]
    return plain.fmean(values) if values else None
