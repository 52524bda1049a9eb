"""Probe that has a query oracle instead of a network."""

from __future__ import annotations

import torch

from harness.runtime.contracts import ContractError, QueryRefused
from harness.runtime.worker.network_model import NetworkModel
from harness.runtime.worker.network_protocol import Message


def asks(model: NetworkModel) -> dict[str, object]:
    """Query the oracle until it refuses, and list which parts of a network it has."""
    model.begin(torch.arange(2))
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
        "granted": [kind for kind in ("forward", "features", "maps") if grants(model, kind, x)],
    }


def grants(model: NetworkModel, kind: str, x: torch.Tensor) -> bool:
    """Return whether the other side answers a request that a query model never makes."""
    try:
        model.request(Message(kind), [x])
    except ContractError:
        return False
    return True
