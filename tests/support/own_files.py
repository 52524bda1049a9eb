"""A defence that takes a file or a folder, and checkouts whose benchmark names one."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.workspaces import Checkout, matrix

READER = """
from pathlib import Path

import numpy as np
import torch
from torch import nn


class Shift(nn.Module):
    def __init__(self, network, by):
        super().__init__()
        self.network, self.by = network, by

    def forward(self, x):
        scores = self.network(x)
        return torch.cat([scores[:, :1] + self.by, scores[:, 1:]], dim=1)


class Defense:
    def __init__(self, *, book):
        self.book = book
        assert book is None or isinstance(book, Path)

    def guard(self, network, ctx):
        ctx.log(f"book: {self.book}")
        if self.book is None:
            return network
        files = sorted(self.book.rglob("*")) if self.book.is_dir() else [self.book]
        return Shift(network, float(sum(np.load(one).sum() for one in files if one.is_file())))
"""
"""A guard that adds the sum of its book to the scores of class 0."""

BOOK = {"book": {"type": "file", "default": ""}}


def write_book(path: Path, value: float = 1.0) -> Path:
    """Write a small ``.npy``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full(3, value, dtype=np.float32))
    return path


def reader(checkout: Checkout, name: str = "reader", **fields: Any) -> Path:
    """Add the defence to a checkout; return its folder."""
    return checkout.module("defense", name, READER, hooks=["guard"], **{"params": BOOK} | fields)


def named(*books: str, **changes: Any) -> dict[str, Any]:
    """Return a matrix with a row of ``reader`` for each path, and one without a defence."""
    rows = [{"name": "reader", "params": {"book": b}, "as": f"r{i}"} for i, b in enumerate(books)]
    return matrix(defenses=["none", *rows], **changes)


def folder(checkout: Checkout, name: str = "b") -> Path:
    """Return the folder of a checkout's benchmark."""
    found = checkout.root / "benchmarks" / name
    found.mkdir(parents=True, exist_ok=True)
    return found
