"""Rows of the table of data sets, made from YAML files and from what is stored."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.config.dataset import DatasetManifest
from harness.config.dataset_comparisons import Comparisons, RankedFeatures
from harness.config.dataset_fields import PARTS
from harness.config.dataset_layouts import LabelMaps
from harness.datasets import stored
from harness.datasets.base import Card, DataMissing, Dataset, Facts
from harness.datasets.pictures.resizing import both_sides
from harness.datasets.read import reading_digest


def describe(
    manifest: DatasetManifest, root: Path, committed: Mapping[str, Any] | None = None
) -> Dataset:
    """Return a set's row, of the published set and of the copy that is stored.

    Args:
        manifest: the set.
        root: data root.
        committed: its committed digest, if any, which counts where nothing is stored.
    """
    here, copy, inputs = None, None, _inputs(manifest)
    if committed is not None:
        copy, inputs = stored_facts(committed), input_kind(committed["spec"])
    with contextlib.suppress(DataMissing):
        found = stored.read_facts(manifest.name, root)
        if found.get("reading") == reading_digest(manifest):  # another one is to be read again
            copy = here = stored_facts(found)
            inputs = input_kind(found["spec"])
    published = published_facts(manifest)
    shown = copy or published
    card = Card(
        title=manifest.title,
        license=manifest.license,
        citation=manifest.citation,
        source=manifest.source,
        size="unknown until it is read" if shown is None else size_line(shown, manifest.task),
        note=manifest.note or "",
    )
    return Dataset(
        manifest.name, manifest.task, card, published or copy, inputs, here, manifest=manifest
    )


def stored_facts(found: Mapping[str, Any]) -> Facts:
    """Return the sizes of a stored set."""
    counts, spec = found["counts"], found["spec"]
    train, val, test = (counts[part] for part in PARTS)
    return Facts(train, val, test, spec["outputs"], tuple(spec["shape"]))


def published_facts(manifest: DatasetManifest) -> Facts | None:
    """Return the sizes of the published set as far as its description tells all of them."""
    published, shape, outputs = manifest.published, _shape(manifest), _outputs(manifest)
    if published is None or published.total or shape is None or outputs is None:
        return None
    return Facts(published.train, published.val, published.test, outputs, shape)


def size_line(facts: Facts, task: str) -> str:
    """Return the sizes of a set in one line.

    >>> size_line(Facts(60, 0, 10, 10, (1, 28, 28)), "classification")
    '60 train, 10 test examples; 28x28 grey, 10 classes'
    """
    noun = "comparisons" if task == "ranking" else "examples"
    sizes = [(facts.train, "train"), (facts.val, "validation"), (facts.test, "test")]
    counts = ", ".join(f"{count:,} {part}" for count, part in sizes if count)
    match facts.shape:
        case (channels, height, width):
            form = f"{width}x{height} {'RGB' if channels == 3 else 'grey'}"
        case ():
            form = "items known by number"
        case shape:
            form = f"{math.prod(shape):,} features"
    one, many = ("output", "outputs") if task == "ranking" else ("class", "classes")
    what = one if facts.outputs == 1 else many
    return f"{counts} {noun}; {form}, {facts.outputs:,} {what}"


def _inputs(manifest: DatasetManifest) -> str:
    """Return the kind of a set's inputs, from its description."""
    layout = manifest.layouts[0].layout
    if isinstance(layout, RankedFeatures) or getattr(layout, "order", "") == "nf":
        return "features"
    return "items" if isinstance(layout, Comparisons) and layout.items else "images"


def _outputs(manifest: DatasetManifest) -> int | None:
    layout = manifest.layouts[0].layout
    if isinstance(layout, LabelMaps):
        return len(set(layout.values.values()))
    if manifest.compare is not None:
        return 1
    if isinstance(layout, Comparisons) and layout.dimensions:
        return layout.dimensions
    return len(manifest.classes) or manifest.class_count


def _shape(manifest: DatasetManifest) -> tuple[int, ...] | None:
    layout, picture = manifest.layouts[0].layout, manifest.picture
    if isinstance(layout, Comparisons) and layout.items:
        return ()
    if isinstance(layout, RankedFeatures) and layout.feature_count:
        return (layout.feature_count,)
    if picture is None or (size := picture.crop or picture.resize or picture.size) is None:
        return None
    width, height = both_sides(size)
    return picture.channels, height, width


def input_kind(spec: Mapping[str, object]) -> str:
    """Return the kind of a data set's inputs: ``images``, ``features`` or ``items``.

    >>> input_kind({"items": 100, "shape": []})
    'items'
    """
    if spec["items"] is not None:
        return "items"
    shape = spec["shape"]
    assert isinstance(shape, list)
    return "images" if len(shape) == 3 else "features"
