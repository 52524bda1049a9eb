"""What stages took and weighed here before, so that a plan can say what it will take."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from harness.files import read_json, write_json
from harness.graph import Stage
from harness.store import Store

KEPT = 20
"""Samples kept a kind of stage; the median of the latest counts."""


class Timings:
    """``timings.json``: label of a stage → the latest seconds and bytes."""

    def __init__(self, home: Path) -> None:
        self.path = home / "timings.json"
        self.samples: dict[str, list[list[float]]] = {}
        try:
            self.samples = read_json(self.path)
        except (OSError, ValueError):
            self.samples = {}

    @staticmethod
    def label(kind: str, modules: dict[str, Any]) -> str:
        """Kind and modules: ``attack attacks/pgd+victims/small-cnn``."""
        return f"{kind} {'+'.join(sorted(modules.values()))}".strip()

    def learn(self, store: Store, keys: list[str]) -> None:
        """Take in what a run did."""
        for key in keys:
            receipt = store.receipt(key)
            if receipt is None or receipt["status"] != "ok":
                continue
            samples = self.samples.setdefault(self.label(receipt["kind"], receipt["modules"]), [])
            samples.append([receipt["seconds"], store.size(key)])
            del samples[:-KEPT]
        if keys:
            write_json(self.path, self.samples)

    def expect(self, stage: Stage) -> tuple[float, float] | None:
        """Median seconds and bytes of such a stage, or ``None`` when none has run here."""
        modules = {role: ref["module"] for role, ref in stage.recipe.get("modules", {}).items()}
        samples = self.samples.get(self.label(stage.kind, modules))
        if not samples:
            return None
        seconds, sizes = zip(*samples, strict=True)
        return statistics.median(seconds), statistics.median(sizes)
