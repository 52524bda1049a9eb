"""Distances between clean and attacked inputs, and the check against the budget.

Distances are recomputed from artefacts in float64, between the network's clean input (uint8 / 255
in float32) and the attacked one. An input over budget is reported and never clipped: no attack has
produced the clipped one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.judge.similarity import similarity

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Array = NDArray[np.number]
BudgetFields = Mapping[str, Any]

TOLERANCE = 1e-6
"""Tolerance of L∞ and of the range [0, 1], and the smallest change of a changed pixel. About ten
roundings of float32 at 1: a device that divides by 255 through the reciprocal is off by one
rounding at many pixels, and these must not count as changed by a patch attack."""

L2_TOLERANCE = 1e-5
"""Tolerance of L2, relative to eps: a projection in float32 exceeds eps by its rounding."""

_CHUNK = 1_000_000  # numbers held as float64 at once


@dataclass(frozen=True)
class Distances:
    """Distances between each attacked example and its clean one; arrays ``[N]``.

    Attributes:
        linf: largest change of a value.
        channels: largest change of a value in each channel, ``[N, C]``; of features there is one.
            Without columns where the stored distances are older than budgets of channels.
        l2: Euclidean norm of the change.
        mse: mean square of the change.
        ssim: structural similarity; NaN for features and for pictures smaller than its window.
        changed: pixels where any channel changes by more than ``TOLERANCE``.
        box_height: height of the smallest upright box around the changed pixels, 0 for none.
        box_width: its width.
        low: smallest value of the attacked example.
        high: largest value of the attacked example.
        finite: whether all its values are finite; where not, the other fields mean nothing.
    """

    linf: Floats
    channels: Floats
    l2: Floats
    mse: Floats
    ssim: Floats
    changed: Floats
    box_height: Floats
    box_width: Floats
    low: Floats
    high: Floats
    finite: Bits

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.linf)

    def take(self, rows: NDArray[np.bool_ | np.integer]) -> Distances:
        """Select examples by mask or by row numbers."""
        return Distances(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def join(parts: Sequence[Distances]) -> Distances:
    """Join the distances of consecutive batches."""
    return Distances(
        **{
            f.name: np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Distances)
        }
    )


def as_seen(stored: Array) -> Array:
    """Convert stored inputs to those of modules: uint8 to float32 in [0, 1], others unchanged.

    >>> as_seen(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    return stored.astype(np.float32) / np.float32(255) if stored.dtype == np.uint8 else stored


def measure(
    clean: Array, attacked: Array, rows: NDArray[np.integer] | None = None, *, ssim: bool = True
) -> Distances:
    """Measure the distances between stored clean examples and attacked ones.

    Args:
        clean: as stored, uint8 ``[N, C, H, W]`` (float32 ``[N, C, H, W]`` or ``[N, F]`` too);
            memory-mapped arrays are read a few rows at a time.
        attacked: float32 of the same shape.
        rows: row of ``clean`` that each attacked example came from; ``None``: the same row.
        ssim: whether to compute SSIM, which takes longer than all other distances and has no
            limit in any budget.

    Raises:
        ValueError: the shapes differ, or are neither images nor features. This is a fault of the
            harness: the worker has checked what modules return.

    >>> clean = np.zeros((1, 3, 4, 4), np.uint8)
    >>> attacked = np.zeros((1, 3, 4, 4), np.float32)
    >>> attacked[0, 1, 1:3, 2] = 0.5
    >>> d = measure(clean, attacked)
    >>> d.linf.tolist(), d.changed.tolist(), d.box_height.tolist(), d.box_width.tolist()
    ([0.5], [2.0], [2.0], [1.0])
    """
    shape = clean.shape if rows is None else (len(rows), *clean.shape[1:])
    if shape != attacked.shape or clean.ndim not in (2, 4):
        raise ValueError(f"expected [N, C, H, W] or [N, F] twice, got {shape} and {attacked.shape}")
    size = max(1, int(np.prod(shape[1:])))
    step = max(1, _CHUNK // size)
    found = []
    for start in range(0, max(1, len(attacked)), step):
        part = slice(start, start + step)
        before = clean[part] if rows is None else clean[rows[part]]
        found.append(_measure(before, attacked[part], ssim=ssim))
    return join(found)


def _measure(clean: Array, attacked: Array, *, ssim: bool) -> Distances:
    n = len(clean)
    # Features are treated as an image of one pixel in height, so that one rule serves both.
    shape = clean.shape if clean.ndim == 4 else (n, 1, 1, clean.shape[1])
    before = as_seen(np.asarray(clean)).astype(np.float64).reshape(shape)
    after = np.asarray(attacked).astype(np.float64).reshape(shape)
    every = (1, 2, 3)
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.abs(after - before)
        square = np.square(change)
        touched: Bits = np.any(change > TOLERANCE, axis=1)
        alike = similarity(before, after) if ssim else np.full(n, np.nan)
    return Distances(
        linf=change.max(axis=every),
        channels=change.max(axis=(2, 3)),
        l2=np.sqrt(square.sum(axis=every)),
        mse=square.mean(axis=every),
        ssim=alike,
        changed=touched.sum(axis=(1, 2)).astype(np.float64),
        box_height=_extent(np.any(touched, axis=2)),
        box_width=_extent(np.any(touched, axis=1)),
        low=after.min(axis=every),
        high=after.max(axis=every),
        finite=np.all(np.isfinite(after), axis=every),
    )


def _extent(touched: Bits) -> Floats:
    """Count the entries from the first to the last true one of each row, both included."""
    first = touched.argmax(axis=1)
    last = touched.shape[1] - 1 - touched[:, ::-1].argmax(axis=1)
    return np.where(touched.any(axis=1), last - first + 1, 0).astype(np.float64)


def changed_boxes(clean: Array, attacked: Array) -> NDArray[np.int64]:
    """Return the smallest upright box around the changed pixels of each picture, ``[N, 4]``.

    It is the left, top, right and bottom edge, right and bottom excluded; 0 where nothing changes.

    Args:
        clean: as stored, uint8 or float32 ``[N, C, H, W]``.
        attacked: float32 of the same shape.

    >>> clean = np.zeros((1, 3, 4, 4), np.uint8)
    >>> attacked = np.zeros((1, 3, 4, 4), np.float32)
    >>> attacked[0, 1, 1:3, 2] = 0.5
    >>> changed_boxes(clean, attacked).tolist()
    [[2, 1, 3, 3]]
    """
    boxes = np.zeros((len(clean), 4), np.int64)
    for box, before, after in zip(boxes, clean, attacked, strict=True):
        touched = (np.abs(after - as_seen(before)) > TOLERANCE).any(axis=0)
        lines, columns = (np.flatnonzero(touched.any(axis=axis)) for axis in (1, 0))
        if len(lines):
            box[:] = columns[0], lines[0], columns[-1] + 1, lines[-1] + 1
    return boxes


@dataclass(frozen=True)
class _Rule:
    """Limit of one figure of an example.

    Attributes:
        what: name of the figure for messages.
        value: figure of each example.
        limit: largest allowed value.
        slack: tolerance beyond the limit.
    """

    what: str
    value: Callable[[Distances], Floats]
    limit: float
    slack: float = 0.0

    def violation(self, distances: Distances) -> str | None:
        """Return a sentence about the examples over the limit, or ``None``."""
        values = self.value(distances)
        over = values > self.limit + self.slack
        if not over.any():
            return None
        slack = f" (tolerance {self.slack:.3g})" if self.slack else ""
        worst = f"{self.what} is {values.max():.8g}"
        return f"{worst}, the limit is {self.limit:.8g}{slack}: {_count(over)}"


def check_perturbation(distances: Distances, budget: BudgetFields) -> str | None:
    """Check that attacked inputs are within the budget.

    Args:
        distances: of all attacked inputs of the cell.
        budget: ``norm`` with ``eps`` (and ``per_channel``), ``patch`` or ``pixels``, or several of
            them, or ``unbounded: true``, or ``norm`` with ``minimal: true``; other fields and
            ``None`` are ignored.

    Returns:
        ``None``, or one sentence: the figure, its worst value, the limit, the number of examples.

    Raises:
        ValueError: the budget has no limit and not ``unbounded``, or limits for another number of
            channels (a fault of the harness).

    >>> clean = np.zeros((2, 1, 2, 2), np.uint8)
    >>> d = measure(clean, np.full((2, 1, 2, 2), 0.04, np.float32))
    >>> check_perturbation(d, {"norm": "linf", "eps": 0.03})
    'L∞ distance is 0.039999999, the limit is 0.03 (tolerance 1e-06): 2 of 2 examples'
    """
    if not distances.finite.all():
        return f"values are not finite: {_count(~distances.finite)}"
    rules = [
        _Rule("the smallest value's distance below 0", lambda d: -d.low, 0.0, TOLERANCE),
        _Rule("the largest value", lambda d: d.high, 1.0, TOLERANCE),
        *_limits(budget),
    ]
    found = (rule.violation(distances) for rule in rules)
    return next((sentence for sentence in found if sentence), None)


def _limits(budget: BudgetFields) -> list[_Rule]:
    """Return the rules of a budget."""
    if budget.get("unbounded") or budget.get("minimal"):
        return []
    norm, eps, patch, pixels = (budget.get(name) for name in ("norm", "eps", "patch", "pixels"))
    units = budget.get("per_channel")
    rules = []
    if norm == "linf" and eps is not None and units is not None:
        rules += _channel_rules(eps, units)
    elif norm == "linf" and eps is not None:
        rules.append(_Rule("L∞ distance", lambda d: d.linf, eps, TOLERANCE))
    elif norm == "l2" and eps is not None and units is None:
        rules.append(_Rule("L2 distance", lambda d: d.l2, eps, eps * L2_TOLERANCE))
    elif norm is not None or eps is not None:
        raise ValueError(f"cannot check norm {norm!r} with eps {eps!r}")
    if patch is not None:
        rules.append(_Rule("height of the changed box", lambda d: d.box_height, patch))
        rules.append(_Rule("width of the changed box", lambda d: d.box_width, patch))
    if pixels is not None:
        rules.append(_Rule("number of changed pixels", lambda d: d.changed, pixels))
    if not rules:
        raise ValueError(
            f"a budget without norm, patch, pixels or unbounded limits no input: {budget}"
        )
    return rules


def _channel_rules(eps: float, units: Sequence[float]) -> list[_Rule]:
    """Return a rule for each channel, with its own radius."""

    def change(channel: int, distances: Distances) -> Floats:
        if distances.channels.shape[1] != len(units):
            raise ValueError(f"limits of {len(units)} channels: {distances.channels.shape}")
        return distances.channels[:, channel]

    return [
        _Rule(f"L∞ distance of channel {channel}", partial(change, channel), eps * unit, TOLERANCE)
        for channel, unit in enumerate(units)
    ]


def _count(bits: Bits) -> str:
    return f"{int(bits.sum())} of {len(bits)} examples"


def summary(distances: Distances) -> dict[str, float]:
    """Summarise distances for a record's ``perturbation``; undefined figures are left out.

    ``linf_max``, ``linf_mean``, ``l2_max``, ``l2_mean``; ``rmse``: mean over examples of √mse;
    ``psnr``: mean over changed examples of ``−10 log10(mse)`` in dB;
    ``ssim``: mean over examples that have one, unchanged ones (1) among them;
    ``changed``: mean number of changed pixels; ``identical``: number of examples without change,
    whose PSNR would be infinite; ``examples``: number of finite examples, which were measured.

    >>> clean = np.zeros((2, 1, 2, 2), np.uint8)
    >>> attacked = np.stack([np.zeros((1, 2, 2)), np.full((1, 2, 2), 0.1)]).astype(np.float32)
    >>> {k: round(v, 3) for k, v in summary(measure(clean, attacked)).items()}["psnr"]
    20.0
    """
    finite = distances.take(distances.finite)
    if not len(finite):
        return {}
    moved = finite.mse > 0
    figures = {
        "linf_max": finite.linf.max(),
        "linf_mean": finite.linf.mean(),
        "l2_max": finite.l2.max(),
        "l2_mean": finite.l2.mean(),
        "rmse": np.sqrt(finite.mse).mean(),
        "changed": finite.changed.mean(),
    }
    if moved.any():
        figures["psnr"] = (-10 * np.log10(finite.mse[moved])).mean()
    alike = finite.ssim[np.isfinite(finite.ssim)]
    if len(alike):
        figures["ssim"] = alike.mean()
    numbers = {name: float(value) for name, value in figures.items()}
    return numbers | {"identical": int(np.sum(~moved)), "examples": len(finite)}
