"""How much an attack changed its inputs: what stands beside a figure that no budget explains."""

from __future__ import annotations

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Sizes of a change, as the judge measured them; ``None`` where it has none.

    Attributes:
        linf: largest change of a number, of the worst example. rmse: root mean square, mean over
            examples. psnr: in dB, over examples that changed at all. ssim: structural similarity,
            1 for equal pictures.
    """

    linf: float | None
    rmse: float | None
    psnr: float | None
    ssim: float | None


def sizes_of(record: Mapping[str, Any]) -> Sizes | None:
    """A record's sizes; ``None`` where no attacked input was measured."""
    found = record.get("perturbation")
    if not found:
        return None
    linf, rmse, psnr, ssim = map(found.get, ("linf_max", "rmse", "psnr", "ssim"))
    return Sizes(linf, rmse, psnr, ssim)


def mean_sizes(found: Sequence[Sizes | None]) -> Sizes | None:
    """Each size's mean over those that have it.

    >>> mean_sizes([Sizes(0.1, 0.02, None, 1.0), None, Sizes(0.3, 0.04, 20.0, 0.5)])
    Sizes(linf=0.2, rmse=0.03, psnr=20.0, ssim=0.75)
    """
    known = [sizes for sizes in found if sizes]
    return Sizes(*(_mean(known, f.name) for f in fields(Sizes))) if known else None


def _mean(known: Sequence[Sizes], name: str) -> float | None:
    values = [value for sizes in known if (value := getattr(sizes, name)) is not None]
    return plain.fmean(values) if values else None
