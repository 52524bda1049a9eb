"""Layout ``class_folders``: pictures in one folder for each class."""

from __future__ import annotations

from harness.common.errors import UserError
from harness.config.dataset_layouts import ClassFolders
from harness.datasets.class_names import class_names, label_of
from harness.datasets.examples import Example, Found, Source
from harness.datasets.templates import Templates
from harness.datasets.walk import Pictures, find_matches


def find(layout: ClassFolders, source: Source) -> Found | None:
    """Return the pictures that the templates name, by class and name; ``None`` without any."""
    templates = Templates(layout.files, layout)
    matches = [(file.where, match) for file, match in find_matches(source, templates)]
    if not matches:
        return None
    classes = class_names(source.manifest, (match.fields["class"] for _, match in matches))
    examples: list[Example] = []
    unknown: set[str] = set()
    for where, match in matches:
        text = match.fields["class"]
        label = label_of(text, classes)
        if label is None:
            if text not in unknown:  # once a class, not once a picture
                source.mistakes.add(UserError(where, *classes.unknown(text)))
            unknown.add(text)
            continue
        split = layout.split_of(match.fields["split"]) if "split" in match.fields else None
        group = layout.group.format(**match.fields) if layout.group else ""
        examples.append(Example(match.name, label, split, group))
    examples.sort(key=lambda example: (example.label, example.name))
    pictures = Pictures(source, templates, {e.name: (n,) for n, e in enumerate(examples)})
    return Found(examples, classes.names, pictures.read, pictures.files)
