"""Writer of labelled examples: splits them, reads their arrays, and stores them row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.common.progress import Meter
from harness.config.dataset_fields import PARTS
from harness.datasets.base import comparison_spec, image_spec
from harness.datasets.compared_pictures import draw_pairs, only_compared
from harness.datasets.examples import Example, Found, Source
from harness.datasets.findings import inspect_arrays
from harness.datasets.hashing import name_ids
from harness.datasets.splitting import Numbers, shared_groups, split_examples
from harness.datasets.stored import StoredFacts, open_row_writer

Write = Callable[[int, NDArray[Any]], None]


def write_examples(source: Source, found: Found, out: Path) -> StoredFacts:
    """Store the examples of a source as arrays, and return fields of the stored manifest.

    Args:
        source: the source.
        found: its examples.
        out: folder for the arrays.

    Raises:
        UserError: all mistakes of the source at once.
    """
    manifest = source.manifest
    _check(source, found)
    source.mistakes.check()
    found = only_compared(source, found)
    numbers = split_examples(manifest.name, found.examples, manifest.splits)
    shape = write_arrays(source, found, numbers, out)
    labels = _write_labels(source, found, numbers, out)
    groups = shared_groups(found.examples, numbers)
    for part, count in groups.items():
        source.remarks.say(f"{count:,} groups are in train and in {part}")
    names: dict[str, list[str]] = {
        part: [found.examples[number].name for number in own]
        for part, own in numbers.items()
        if found.named
    }
    classes = found.classes if manifest.compare is None else ()
    crop = manifest.picture.crop if manifest.picture is not None else None
    findings = inspect_arrays(out, names, source.remarks, classes, crop)
    if manifest.compare is None:
        if crop is not None and (len(shape) < 3 or min(shape[1:]) < crop):
            what = f"has inputs {list(shape)}, of which no square of {crop} pixels can be cut"
            raise UserError(str(source.folder), what, "give larger pictures, or a smaller crop")
        inputs = shape if crop is None else (shape[0], crop, crop)
        spec = image_spec(manifest.task, found.classes, inputs, found.void, stored=shape)
    else:
        spec = comparison_spec([manifest.compare.attribute], shape)
    return {
        "spec": spec,
        "files": dict(found.files),
        **findings,
        "shared_groups": groups,
        "counts": {part: len(labels[part]) for part in PARTS},
        "per_class": _per_class(found, numbers) if manifest.compare is None else {},
    }


def _check(source: Source, found: Found) -> None:
    """Check that there is something to be judged on, and that ids are unique."""
    manifest, examples = source.manifest, found.examples
    if (count := manifest.class_count) and count != len(found.classes):
        what = f"has {len(found.classes):,} classes"
        fix = f"give all {count:,}, or change class_count"
        source.mistakes.add(UserError(str(source.folder), what, fix))
    ids = name_ids(manifest.name, (example.name for example in examples))
    if len(np.unique(ids)) < len(ids):
        what = "two names have the same id, which is 48 bits of their hash"
        source.mistakes.add(UserError(str(source.folder), what, "rename one of the files"))


def write_arrays(source: Source, found: Found, numbers: Numbers, out: Path) -> tuple[int, ...]:
    """Store what is read of every example, and return the shape of one input."""
    row_of = {
        number: (part, row) for part, own in numbers.items() for row, number in enumerate(own)
    }
    writers: dict[tuple[str, str], Write] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    pending = Counter(dict.fromkeys(row_of, 1 if found.void is None else 2))
    with ExitStack() as stack, Meter(f"{source.manifest.name}: examples") as meter:

        def open_arrays(field: str, values: NDArray[Any]) -> None:
            shapes[field] = values.shape
            for part, own in numbers.items():
                shape = (len(own), *values.shape)
                path = out / f"{part}_{field}.npy"
                writers[part, field] = stack.enter_context(
                    open_row_writer(path, shape, values.dtype)
                )

        for done, (number, field, values) in enumerate(found.read(sorted(row_of)), start=1):
            if field not in shapes:
                open_arrays(field, values)
            part, row = row_of[number]
            if values.shape != shapes[field]:
                _other_shape(source, found.examples[number], values.shape, shapes[field])
                continue
            writers[part, field](row, values)
            pending[number] -= 1
            meter.update(done, len(row_of), found.examples[number].name)
    source.mistakes.check()
    if not shapes or any(pending.values()):
        what = "was changed while it was read" if shapes else "has no example that can be read"
        raise UserError(str(source.folder), what, "try again")
    return shapes["x"]


def _other_shape(
    source: Source, example: Example, found: tuple[int, ...], first: tuple[int, ...]
) -> None:
    """Note a picture of another size than the first."""
    sizes = [f"{shape[-1]}x{shape[-2]}" for shape in (found, first)]
    what = f"is {sizes[0]} pixels, and the first picture is {sizes[1]}"
    fix = "give picture.resize in the data set's file"
    source.mistakes.add(UserError(f"{source.folder}: {example.name}", what, fix))


def _write_labels(
    source: Source, found: Found, numbers: Numbers, out: Path
) -> Mapping[str, NDArray[Any]]:
    """Store labels, ids, groups and boxes; return the ids."""
    manifest, examples = source.manifest, found.examples
    ids = name_ids(manifest.name, (example.name for example in examples))
    known = sorted({example.group for example in examples})
    group_ids = dict(zip(known, name_ids(f"{manifest.name}/group", known).tolist(), strict=True))
    stored: dict[str, NDArray[Any]] = {}
    for part, own in numbers.items():
        labels = np.array([examples[number].label for number in own], dtype=np.int64)
        stored[part] = ids[own]
        if manifest.compare is not None:
            names = [examples[number].name for number in own]
            values = [manifest.compare.values[found.classes[label]] for label in labels.tolist()]
            labels, stored[part] = draw_pairs(source, part, np.array(values, np.int64), names)
        if found.void is None:
            save_array(out / f"{part}_y.npy", labels)
        save_array(out / f"{part}_ids.npy", stored[part])
        if any(known):
            groups = [group_ids[examples[number].group] for number in own]
            save_array(out / f"{part}_groups.npy", np.array(groups, dtype=np.int64))
        if any(example.box for example in examples):
            boxes = [examples[number].box or (0, 0, 0, 0) for number in own]
            save_array(out / f"{part}_boxes.npy", np.array(boxes, dtype=np.int64).reshape(-1, 4))
    return stored


def _per_class(found: Found, numbers: Numbers) -> dict[str, list[int]]:
    """Count examples by class in each split; empty where pixels have classes."""
    if found.void is not None:
        return {}
    return {
        part: np.bincount(
            [found.examples[number].label for number in own], minlength=len(found.classes)
        ).tolist()
        for part, own in numbers.items()
    }
