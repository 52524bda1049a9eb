"""Check of a trigger that training pictures get after augmentation, against the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.judge.budget import BudgetFields, Distances, check_perturbation, measure

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Overlay:
    """Trigger on training pictures; its fields are those of the overlay that modules return.

    Attributes:
        ids: ``[E]``, the pictures with the trigger.
        patch: its pixels, float32 ``[C, h, w]``.
        mask: its opacity, float32 ``[C, h, w]``.
        places: ``[E, 2]``, row and column of the patch's first pixel.
    """

    ids: Integers
    patch: Floats
    mask: Floats
    places: Integers

    def put_on(self, x: Floats, ids: Integers) -> Floats:
        """Return pictures as networks see them, with the trigger.

        Args:
            x: float32 in [0, 1] ``[B, C, H, W]``.
            ids: ``[B]``, their identifiers.
        """
        x, (height, width) = np.array(x), self.patch.shape[1:]
        place = {int(one): at for one, at in zip(self.ids, self.places, strict=True)}
        for row, one in enumerate(ids.tolist()):
            if one in place:
                top, left = place[one]
                area = x[row, :, top : top + height, left : left + width]
                area += self.mask * (self.patch - area)
        return x


def check_overlay(
    overlay: Overlay, ids: Integers, shape: Sequence[int], budget: BudgetFields
) -> str | None:
    """Check that an overlay keeps the budget.

    What a picture looks like under the trigger changes with every crop. So the trigger is measured
    on the picture that it changes most: white where the patch is dark, black where it is bright.

    Args:
        overlay: the overlay.
        ids: ids of all edits, which the judge counts.
        shape: one picture's shape ``(C, H, W)``.
        budget: ``features``, and the limits of ``check_perturbation``; without any of these, all
            pixels may change.

    Returns:
        ``None``, or one sentence with the fault, the worst value, the limit, the number of edits.

    >>> one = Overlay(np.array([7]), np.ones((1, 2, 3)), np.ones((1, 2, 3)), np.array([[0, 0]]))
    >>> check_overlay(one, np.array([7]), (1, 8, 8), {"features": True, "patch": 2})
    'overlay: width of the changed box is 3, the limit is 2: 1 of 1 examples'
    """
    return _check_form(overlay, ids, shape) or _check_size(overlay, budget)


def _check_form(overlay: Overlay, ids: Integers, shape: Sequence[int]) -> str | None:
    count, size = len(overlay.ids), overlay.patch.shape
    if len(shape) != 3 or size[0] != shape[0]:
        return f"an overlay {list(size)} on inputs {list(shape)}"
    stray = int(np.sum(~np.isin(overlay.ids, ids)))
    if stray:
        return f"an overlay's id is not among the edits: {stray} of {count}"
    repeated = count - len(np.unique(overlay.ids))
    if repeated:
        return f"an overlay has an id more than once: {repeated} of {count}"
    for name in ("patch", "mask"):
        values = getattr(overlay, name)
        outside = int(np.sum(~((values >= 0) & (values <= 1))))  # NaN, too
        if outside:
            return f"an overlay's {name} has values outside [0, 1]: {outside} of {values.size}"
    room = np.array(shape[1:]) - size[1:]
    outside = int(np.sum(np.any((overlay.places < 0) | (overlay.places > room), axis=1)))
    if outside or np.any(room < 0):
        return f"an overlay {list(size)} leaves the picture: {outside} of {count} places"
    return None


def _check_size(overlay: Overlay, budget: BudgetFields) -> str | None:
    largest = largest_change(overlay)
    if not budget.get("features") and largest.changed.any():
        return f"inputs change, but the budget allows labels only: {len(overlay.ids)} edits"
    fault = check_perturbation(
        largest.take(np.zeros(len(overlay.ids), dtype=np.int64)), edit_limits(budget)
    )
    return f"overlay: {fault}" if fault else None


def largest_change(overlay: Overlay) -> Distances:
    """Measure the trigger on the picture that it changes most, one example of the patch's size."""
    worst = (overlay.patch < 0.5).astype(np.float32)[None]
    return measure(worst, worst + overlay.mask * (overlay.patch - worst), ssim=False)


def edit_limits(budget: BudgetFields) -> BudgetFields:
    """Return a budget whose edits may change inputs at will if nothing limits them."""
    limited = any(budget.get(name) is not None for name in ("norm", "patch", "pixels"))
    return budget if limited else {"unbounded": True}
