"""Comparison of a copy with the published set, by its counts and its contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.common.files import load_array
from harness.config.dataset import DatasetManifest
from harness.config.dataset_fields import PARTS
from harness.datasets.stored import read_rows


def contents_digests(folder: Path) -> dict[str, str]:
    """Return a digest of the labelled examples of each split in any order, by split.

    The same pictures have the same digest, whatever form and order their files have. Splits without
    examples, and comparisons of items, have none.

    Args:
        folder: folder with ``<split>_x.npy`` and ``<split>_y.npy``.
    """
    found: dict[str, str] = {}
    for part in PARTS:
        digest = examples_digest(*(folder / f"{part}_{field}.npy" for field in "xy"))
        if digest is not None:
            found[part] = digest
    return found


def examples_digest(inputs: Path, labels: Path) -> str | None:
    """Return a digest of labelled examples in any order; ``None`` of none, and of comparisons.

    Args:
        inputs: ``.npy`` file with a row for each example.
        labels: the same of their labels.
    """
    x, y = load_array(inputs), load_array(labels)
    if not len(x) or len(x) != len(y) or x.ndim < 2:
        return None
    rows = sorted(
        hashlib.sha256(row + label).digest()
        for row, label in zip(read_rows(inputs), read_rows(labels), strict=True)
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


def compare_with_published(
    manifest: DatasetManifest,
    counts: Mapping[str, int],
    contents: Mapping[str, str],
    known: Iterable[DatasetManifest],
) -> Iterator[str]:
    """Yield what differs from the published set, and the name of the set that it is instead.

    Args:
        manifest: description of the set.
        counts: split → number of examples that were read.
        contents: split → digest of them.
        known: descriptions of sets that it may be instead.
    """
    published = manifest.published
    if published is None:
        return
    owners = {digest: one.title for one in known if one.published is not None
              for digest in one.published.sha256.values()}  # fmt: skip
    for part in PARTS:
        digest = contents.get(part, "")
        if digest in owners and digest != published.sha256.get(part):
            yield f"its {part} examples are those of {owners[digest]}"
    other = [
        f"{counts[part]:,} of {count:,} {part} examples"
        for part in (() if published.total else PARTS)
        if counts[part] != (count := getattr(published, part))
    ]
    if published.total and (found := sum(counts.values())) != published.total:
        other.append(f"{found:,} of {published.total:,} examples")
    other += [
        f"other {part} examples"
        for part, digest in published.sha256.items()
        if counts[part] == getattr(published, part) and contents.get(part) != digest
    ]
    if other:
        yield f"not the published set: {', '.join(other)}"
