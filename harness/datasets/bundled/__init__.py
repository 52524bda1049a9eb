"""Data sets that come with the harness: made here, from what scikit-learn brings."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from types import ModuleType

from harness.datasets import base
from harness.datasets.base import Dataset
from harness.datasets.bundled import digit_pairs, digits, fitted, scenes

_MODULES: tuple[ModuleType, ...] = (digits, digit_pairs, scenes)

BUNDLED: dict[str, Dataset] = {
    dataset.name: dataset for module in _MODULES for dataset in module.DATASETS
}


def find(name: str) -> Dataset | None:
    """Return a bundled set, as it is or in another picture form (``fitted``); else ``None``."""
    if parsed := fitted.parse_name(name):
        return fitted.make(BUNDLED[parsed[0]], parsed[1])
    return BUNDLED.get(name)


def code_digest(name: str) -> str:
    """Return a digest of the code that makes a set, and of no other set's."""
    return hashlib.sha256("\0".join((name, *_code(name))).encode()).hexdigest()


def _code(name: str) -> Iterator[str]:
    own = [one for one in _MODULES if BUNDLED.get(name) in one.DATASETS]
    for part in dict.fromkeys((*(own or (fitted, *_MODULES)), digits)):  # all are made of digits
        yield inspect.getsource(part)
    for function in (base.image_spec, base.comparison_spec):
        yield inspect.getsource(function)
