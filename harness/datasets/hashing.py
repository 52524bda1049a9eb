"""Orders, random numbers and ids from hashes of names.

Splits, pairs and scenes must be equal on every machine and under every version of numpy. So data
sets never use ``numpy.random``: all pseudo-randomness is SHA-2 and SHA-3.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Ids

_CANDIDATES = 2
"""Candidates drawn for each pair: some have equal values, a few are duplicates."""


def hash_order(ids: Ids, salt: str) -> NDArray[np.intp]:
    """Return row numbers in an order that depends on the ids and the salt alone.

    The relative order of two ids does not depend on the other ids.

    >>> hash_order(np.array([10, 11, 12]), "a").tolist()
    [1, 2, 0]
    """
    hashes = [hashlib.sha256(f"{salt}:{i}".encode()).digest() for i in ids.tolist()]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.intp)


def draws(name: str, count: int) -> NDArray[np.float64]:
    """Draw ``count`` uniform numbers in [0, 1), 53 bits each, that depend on the name alone.

    >>> draws("a", 2).round(3).tolist()
    [0.859, 0.613]
    """
    raw = np.frombuffer(hashlib.shake_256(name.encode()).digest(8 * count), dtype="<u8")
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def name_ids(name: str, keys: Iterable[str]) -> Ids:
    """Return ids made from names, 48 bits of a hash each: a subset has the ids of the whole.

    A repeated key is another example; the number of its predecessors goes into its hash.

    >>> name_ids("camvid", ["0016E5_07959"]).tolist()
    [259648880056340]
    """
    seen: Counter[str] = Counter()
    ids = []
    for key in keys:
        repeat = f"#{seen[key]}" if seen[key] else ""
        seen[key] += 1
        digest = hashlib.sha256(f"{name}/{key}{repeat}".encode()).digest()
        ids.append(int.from_bytes(digest[:6], "big"))
    return np.array(ids, dtype=np.int64)


def unequal_pairs(name: str, value: Ids, count: int) -> Ids:
    """Draw pairs of rows with different values; no two rows are paired twice.

    Args:
        name: seed of the draw.
        value: int64 ``[N]``, the values to compare.
        count: number of pairs; fewer are returned where few rows differ.

    Returns:
        int64 ``[n, 3]``: two rows, and +1 where the first has the larger value, else −1.

    >>> unequal_pairs("e", np.array([5, 7, 7]), 2).tolist()
    [[1, 0, 1], [2, 0, 1]]
    """
    chance = draws(name, 2 * _CANDIDATES * count).reshape(-1, 2)
    pairs = (chance * len(value)).astype(np.int64)
    pairs = pairs[value[pairs[:, 0]] != value[pairs[:, 1]]]
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs = pairs[np.sort(first)[:count]]
    return np.column_stack([pairs, np.sign(value[pairs[:, 0]] - value[pairs[:, 1]])])
