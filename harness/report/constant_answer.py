"""A network that answers the same class to every input keeps some accuracy, too.

What it keeps needs neither learning nor a defence: with ten classes of equal size, one example in
ten. A defence that keeps no more is better than none, whatever a test between the two says; and one
whose *clean* accuracy is no more lets few attacks succeed, because it has little to lose.
"""

from __future__ import annotations

from collections.abc import Iterable

from scipy.special import bdtrc

from harness.report.cells import CellRow
from harness.report.paired_tests import ALPHA
from harness.report.worst_case import Estimate

METRIC = "constant_accuracy"


def constant_share(cells: Iterable[CellRow]) -> float | None:
    """Return the share of the most frequent class among the judged examples.

    ``None`` where no record states it: in other tasks than classification, and in old records.
    """
    figures = (row.record.metrics.get(METRIC) for row in cells if row.record)
    return next((one.value for one in figures if one and one.value is not None), None)


def exceeds(accuracy: Estimate, share: float) -> bool:
    """Return whether an accuracy is significantly above a constant answer's (exact, one-sided).

    One that counts no examples cannot be tested, and passes.

    >>> exceeds(Estimate(0.10, examples=500), 0.1), exceeds(Estimate(0.15, examples=500), 0.1)
    (False, True)
    """
    n = accuracy.examples
    if n is None:
        return True
    right = round(accuracy.value * n)
    return right > 0 and float(bdtrc(right - 1, n, share)) < ALPHA
