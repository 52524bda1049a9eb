"""Probe that has a query oracle instead of a network."""

from __future__ import annotations

import contextlib

import torch

from harness.runtime.contracts import ContractError, QueryRefused
from harness.runtime.worker.network_model import NetworkModel
from harness.runtime.worker.network_protocol import Message


def asks(model: NetworkModel) -> dict[str, object]:
    """Query the oracle until it refuses."""
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
    }


def asks_more(model: NetworkModel, kind: str) -> None:
    """Ask for what a query model never asks, and make light of the refusal."""
    model.begin(torch.arange(2))
    with contextlib.suppress(ContractError):
        model.request(Message(kind), [torch.ones(2, 1, 2, 2)])


def hangs_up(model: NetworkModel) -> dict[str, bool]:
    """Close the connection in the middle of a batch."""
    model.begin(torch.arange(2))
    model._connection._channel.close()
    return {"left": True}


def names_others(model: NetworkModel) -> dict[str, object]:
    """Ask about the last of four examples, in the name of each."""
    model.begin(torch.arange(4))
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0, 0] = 48 / 255
    refused = False
    for row in range(4):
        try:
            model.predict(x, torch.tensor([row]))
        except QueryRefused:
            refused = True
    left = model.left()
    return {"refused": refused, "left": None if left is None else left.tolist()}
