"""Data sets that come with the harness: made here, from what scikit-learn brings."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from types import ModuleType

from harness.datasets import base
from harness.datasets.base import Dataset
from harness.datasets.bundled import digit_pairs, digits, scenes

_MODULES: tuple[ModuleType, ...] = (digits, digit_pairs, scenes)

BUNDLED: dict[str, Dataset] = {
    dataset.name: dataset for module in _MODULES for dataset in module.DATASETS
}


def code_digest(name: str) -> str:
    """Return a digest of the code that makes a set, and of no other set's."""
    return hashlib.sha256("\0".join(_code(BUNDLED[name])).encode()).hexdigest()


def _code(dataset: Dataset) -> Iterator[str]:
    module = next(module for module in _MODULES if dataset in module.DATASETS)
    for part in dict.fromkeys((module, digits)):  # all are made of the digits
        yield inspect.getsource(part)
    for function in (base.image_spec, base.comparison_spec):
        yield inspect.getsource(function)
