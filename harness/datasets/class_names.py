"""Names of classes: given by the manifest, or those that the source shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from harness.common.text import suggest
from harness.config.dataset import DatasetManifest


@dataclass(frozen=True)
class Classes:
    """Classes of a data set, in the order of their labels.

    Attributes:
        names: their names.
        data_set: name of the data set, for messages.
    """

    names: tuple[str, ...]
    data_set: str

    @cached_property
    def by_text(self) -> dict[str, int]:
        """Text in a source → label: a name, or a number from 0 that is no name."""
        numbers = {str(label): label for label in range(len(self.names))}
        return numbers | {name: label for label, name in enumerate(self.names)}

    def unknown(self, text: str) -> tuple[str, str]:
        """Return what is wrong with a text that names no class, and what to do."""
        what = f"{text!r} is not a class of {self.data_set}"
        return what, suggest(text, self.names, "use one of")


def class_names(manifest: DatasetManifest, found: Iterable[str]) -> Classes:
    """Return the classes of the manifest, else those that the source shows.

    They are sorted, as numbers if all are.
    """
    if manifest.classes:
        return Classes(manifest.classes, manifest.name)
    texts = set(found)
    if all(text.isdecimal() for text in texts):
        return Classes(tuple(sorted(texts, key=lambda text: (int(text), text))), manifest.name)
    return Classes(tuple(sorted(texts)), manifest.name)


def label_of(text: str, classes: Classes) -> int | None:
    """Return the label that a text names: a class, or its number (``00014``); else ``None``."""
    found = classes.by_text.get(text)
    if found is None and text.isdecimal():
        return classes.by_text.get(str(int(text)))
    return found
