"""Writer of comparisons and their ids, whatever layout they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from harness.common.files import save_array
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.base import Ids
from harness.datasets.examples import Source
from harness.datasets.findings import inspect_arrays
from harness.datasets.hashing import name_ids
from harness.datasets.stored import StoredFacts


def store_comparisons(
    source: Source,
    y: Mapping[Part, Ids],
    keys: Mapping[Part, Sequence[str]],
    names: Mapping[Part, Sequence[str]],
    out: Path,
) -> StoredFacts:
    """Store comparisons and their ids, and return fields of the stored manifest.

    Args:
        source: the source; attributes without a comparison become remarks.
        y: split → int64 ``[n, arity + 2]``: item rows, label, attribute.
        keys: split → key of each comparison, for its id. Ids are made over all splits, so that a
            comparison in two of them has two ids.
        names: split → names of its items; empty if they have none.
        out: folder for the arrays, which has those of the items.
    """
    attributes = source.manifest.classes
    ids = name_ids(source.manifest.name, chain.from_iterable(keys[part] for part in PARTS))
    ends = np.cumsum([len(y[part]) for part in PARTS])
    per_attribute: dict[str, list[int]] = {}
    for part, own in zip(PARTS, np.split(ids, ends[:2]), strict=True):
        save_array(out / f"{part}_y.npy", y[part])
        save_array(out / f"{part}_ids.npy", own)
        counts = np.bincount(y[part][:, -1], minlength=len(attributes)).tolist()
        per_attribute[part] = counts
        lacking = [name for name, count in zip(attributes, counts, strict=True) if not count]
        if lacking and any(counts):
            source.remarks.say(f"no {part} comparison of {', '.join(lacking)}")
    own_names = {str(part): own for part, own in names.items()}
    findings = inspect_arrays(out, own_names, source.remarks)
    return {
        **findings,
        "counts": {part: len(y[part]) for part in PARTS},
        "per_class": per_attribute,
    }
