"""Figures of a run, for the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.storage.receipt import Receipt


@dataclass
class Tally:
    """Figures of a run.

    Attributes:
        stages: stages that ended.
        not_applicable: those of them that the victim or the attack declined.
        failed: those of them that ended in any other way than well.
        records: cells that got their record.
        seconds: wall time.
        overheads: seconds of each stage beyond its hook.
    """

    stages: int = 0
    not_applicable: int = 0
    failed: int = 0
    records: int = 0
    seconds: float = 0.0
    overheads: list[float] = field(default_factory=list)

    def count(self, receipt: Receipt) -> None:
        """Count an ended stage; one that a defence declined has failed, as its cell is avoided."""
        self.stages += 1
        if receipt.status == "not_applicable" and receipt.by != "defense":
            self.not_applicable += 1
        elif receipt.status != "ok":
            self.failed += 1
