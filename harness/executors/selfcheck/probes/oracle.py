"""Probes that hold a query oracle instead of a network."""

from __future__ import annotations

from typing import Any

import torch

from harness.runtime.contracts import QueryRefused
from harness.runtime.worker.oracle import OracleModel


def asks(model: OracleModel) -> dict[str, Any]:
    """Ask the oracle, and try to reach more of the network than answers."""
    model.rows = torch.arange(2)
    x = torch.ones(2, 1, 2, 2)
    first = model.predict(x)
    refused = ""
    try:
        for _ in range(3):
            model.predict(x)
    except QueryRefused as error:
        refused = type(error).__name__
    left = model.left()
    return {
        "answers": first.tolist(),
        "refused": refused,
        "left": None if left is None else left.tolist(),
        "granted": [n for n in ("module", "loss", "features") if hasattr(model, n)],
    }
