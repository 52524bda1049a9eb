"""Layouts of data sources: the table of their readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.config.dataset_fields import Layout
from harness.datasets.examples import Found, Source
from harness.datasets.layouts import (
    arrays,
    class_folders,
    comparisons,
    idx,
    label_maps,
    ranked_features,
    tables,
    torchvision_files,
)
from harness.datasets.stored import StoredFacts
from harness.datasets.write_examples import write_examples

Write = Callable[[Any, Source, Path], StoredFacts | None]
L = TypeVar("L", bound=Layout)


@dataclass(frozen=True)
class Reader:
    """Reader of a layout.

    Attributes:
        version: raised by hand when the same source gives other arrays than before.
        write: takes the layout, the source and the folder for the arrays; returns fields of the
            stored manifest, or ``None`` if the layout is not there.
    """

    version: int
    write: Write


def labelled(find: Callable[[L, Source], Found | None]) -> Write:
    """Return the writer of a layout that finds labelled examples."""

    def write(layout: L, source: Source, out: Path) -> StoredFacts | None:
        found = find(layout, source)
        if found is None and not source.mistakes.count:
            return None
        source.mistakes.check()
        assert found is not None  # without mistakes
        return write_examples(source, found, out)

    return write


READERS: dict[str, Reader] = {
    "arrays": Reader(1, labelled(arrays.find)),
    "class_folders": Reader(1, labelled(class_folders.find)),
    "comparisons": Reader(1, comparisons.write),
    "ranked_features": Reader(1, ranked_features.write),
    "idx": Reader(1, labelled(idx.find)),
    "label_maps": Reader(1, labelled(label_maps.find)),
    "torchvision": Reader(1, labelled(torchvision_files.find)),
    "tables": Reader(1, labelled(tables.find)),
}
"""Layout in a manifest → its reader."""
