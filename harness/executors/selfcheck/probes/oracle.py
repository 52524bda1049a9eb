"""Probe that has a query oracle instead of a network."""

from __future__ import annotations

import torch

from harness.runtime.contracts import QueryRefused
from harness.runtime.worker.oracle_model import OracleModel


def asks(model: OracleModel) -> dict[str, object]:
    """Query the oracle until it refuses, and list which parts of a network it has."""
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
