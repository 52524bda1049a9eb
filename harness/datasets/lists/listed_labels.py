"""Labels of listed examples: names of classes, or numbers from 0 or 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.common.errors import UserError
from harness.config.dataset import DatasetManifest
from harness.datasets.class_names import class_names, label_of
from harness.datasets.lists.listed_rows import Rows
from harness.datasets.mistakes import Mistakes

MOST_CLASSES = 100_000
"""Most classes of a set that does not say how many it has: one false label would be as many."""

Labels = Sequence[int | None]
"""Label of each row from 0; ``None``: a wrong one."""


def read_labels(
    rows: Rows, label_from: int, manifest: DatasetManifest, mistakes: Mistakes
) -> tuple[Labels, tuple[str, ...]]:
    """Return the label of each row, and the names of the classes.

    Labels that are numbers count the classes from ``label_from``, whether or not each has an
    example. Names are those of ``class`` beside the numbers, of the manifest, or the numbers.
    Labels that are names are numbered as the manifest lists them, else sorted.

    Args:
        rows: rows with ``label``, ``class`` or both.
        label_from: first label.
        manifest: the classes, or their number, as far as they are given.
        mistakes: gets rows without a label and wrong labels.
    """
    numbers, names = rows.texts("label"), rows.texts("class")
    texts = [
        name if number is None else number for number, name in zip(numbers, names, strict=True)
    ]
    for row, (text, id_) in enumerate(zip(texts, rows.texts("id"), strict=True)):
        if text is None and id_ is None:  # ids without a label were found when they were joined
            mistakes.add(UserError(rows.where(row), "has no label", "add one, or remove the row"))
    known = frozenset(manifest.classes)
    decimal = sum(text is not None and text not in known and _is_number(text) for text in texts)
    beside = any(
        number is not None is not name for number, name in zip(numbers, names, strict=True)
    )
    if beside or 2 * decimal > sum(text is not None for text in texts):
        return _numbered(rows, texts, label_from, manifest, mistakes)
    if not manifest.classes and decimal:
        for row, text in enumerate(texts):
            if text is not None and _is_number(text):
                what = f"label {text} is a number, where most are names"
                mistakes.add(UserError(rows.where(row), what, "write its name"))
    classes = class_names(manifest, (text for text in texts if text is not None))
    labels: list[int | None] = []
    for row, text in enumerate(texts):
        labels.append(None if text is None else label_of(text, classes))
        if text is not None and labels[-1] is None:
            mistakes.add(UserError(rows.where(row), *classes.unknown(text)))
    return labels, classes.names


def _numbered(
    rows: Rows,
    texts: Sequence[str | None],
    first: int,
    manifest: DatasetManifest,
    mistakes: Mistakes,
) -> tuple[Labels, tuple[str, ...]]:
    """Return labels that are numbers, and the names of as many classes."""
    given = {name: label for label, name in enumerate(manifest.classes)}
    count = len(given) or manifest.class_count or MOST_CLASSES
    last = first + count - 1
    labels: list[int | None] = []
    for row, text in enumerate(texts):
        label = None if text is None else given.get(text)
        if label is None and text is not None and _is_number(text) and first <= int(text) <= last:
            label = int(text) - first
        if label is None and text is not None:
            mistakes.add(UserError(rows.where(row), *_wrong(text, first, last)))
        labels.append(label)
    if len(given) + (manifest.class_count or 0) == 0:
        count = max((label for label in labels if label is not None), default=-1) + 1
    names = list(manifest.classes) or _names(rows, labels, count, first, mistakes)
    return labels, tuple(names)


def _is_number(text: str) -> bool:
    return re.fullmatch("-?[0-9]{1,18}", text) is not None


def _wrong(text: str, first: int, last: int) -> tuple[str, str]:
    """Return what is wrong with a label that is no number of a class, and what to do."""
    if not _is_number(text):
        fix = "mend it; if it is a heading, give its columns by name, or skip: 1"
        return f"label {text!r} is not a whole number, as others are", fix
    where = "0" if first == 0 else "1"
    fix = f"mend it, or give label_from: {1 - first} if labels do not count from {where}"
    return f"label {text} is outside {first} to {last:,}", fix


def _names(rows: Rows, labels: Labels, count: int, first: int, mistakes: Mistakes) -> list[str]:
    """Return the names that ``class`` gives to numbers; a number without one is its own."""
    names: dict[int, str] = {}
    label_of_name: dict[str, int] = {}
    for row, (label, name) in enumerate(zip(labels, rows.texts("class"), strict=True)):
        if label is None or name is None:
            continue
        if names.setdefault(label, name) != name:
            what = f"names label {label + first} {name}, elsewhere {names[label]}"
            mistakes.add(UserError(rows.where(row), what, "leave one of the names"))
        elif label_of_name.setdefault(name, label) != label:
            what = f"gives {name} label {label + first}, elsewhere {label_of_name[name] + first}"
            mistakes.add(UserError(rows.where(row), what, "leave one of the labels"))
    return [names.get(label, str(label + first)) for label in range(count)]
