"""Time that records took to make."""

from __future__ import annotations

from collections.abc import Iterable

from harness.results.records import Record


def recorded_seconds(found: Iterable[Record]) -> float | None:
    """Return the time of the records' stages, each counted once, one after another.

    Returns:
        Seconds, or ``None`` where nothing is known: an ensemble's record holds no stages.
    """
    seconds = {
        record.stages[role]: float(spent)
        for record in found
        for role, spent in record.run.seconds.items()
        if role in record.stages
    }
    return sum(seconds.values()) if seconds else None
