"""Layout ``label_maps``: pairs of a picture and a class map."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from harness.common.errors import UserError
from harness.config.dataset_layouts import LabelMaps
from harness.datasets.class_maps import VOID, class_table, fit_map, to_classes
from harness.datasets.examples import Example, Found, Source
from harness.datasets.image_files import read_class_map
from harness.datasets.source_files import SourceFile
from harness.datasets.templates import Templates
from harness.datasets.walk import Pictures, find_matches

_WORDS = {"x": "picture", "y": "class map"}


def find(layout: LabelMaps, source: Source) -> Found | None:
    """Return the pairs that the templates name, by name; ``None`` without any.

    Names are unique in the whole set: ids are made from them alone, so that they do not depend on
    where a copy has its files.
    """
    both = Templates((layout.pictures, layout.maps), layout)
    pictures = Templates((layout.pictures,), layout)
    pairs: dict[str, dict[str, tuple[str, str]]] = {}
    examples: dict[str, Example] = {}
    for file, match in find_matches(source, both):
        name = match.fields["name"]
        split = layout.split_of(match.fields["split"]) if "split" in match.fields else None
        field = "x" if pictures.match(match.name) else "y"
        pair = pairs.setdefault(name, {})
        known = examples.setdefault(name, Example(name, -1, split))
        if field in pair or known.split != split:
            _, other = pair.get(field) or next(iter(pair.values()))
            what = f"has the name of {other}: ids are made from names"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
            continue
        pair[field] = match.name, file.where
    _check_complete(layout, pairs, source)
    if not pairs or source.mistakes.count:
        return None
    names = sorted(examples)
    numbers = {pairs[name][field][0]: (number,) for number, name in enumerate(names)
               for field in _WORDS}  # fmt: skip
    maps = {pair["y"][0] for pair in pairs.values()}
    read = PairFiles(layout, source, both, numbers, maps)
    return Found([examples[name] for name in names], layout.class_names(), read.read, read.files,
                 void=VOID)  # fmt: skip


def _check_complete(
    layout: LabelMaps, pairs: dict[str, dict[str, tuple[str, str]]], source: Source
) -> None:
    """Check that no pair lacks a file."""
    templates = {"x": layout.pictures, "y": layout.maps}
    for name in sorted(pairs):
        for field, word in _WORDS.items():
            if field not in pairs[name]:
                ((_, where),) = pairs[name].values()
                fix = f"add it ({templates[field]}), or remove this one"
                source.mistakes.add(UserError(where, f"there is no {word} for it", fix))


class PairFiles(Pictures):
    """Pictures and class maps of a source, read in the order in which they lie there.

    Args:
        layout: the layout.
        source: the source.
        templates: templates of both.
        numbers: name → number of the pair.
        maps: names of the class maps.
    """

    def __init__(
        self,
        layout: LabelMaps,
        source: Source,
        templates: Templates,
        numbers: dict[str, tuple[int]],
        maps: Collection[str],
    ) -> None:
        super().__init__(source, templates, numbers, mapped=True)
        self.maps = maps
        self.table = class_table(layout)
        self._sizes: dict[int, tuple[tuple[int, int], str]] = {}

    def decode(self, blob: bytes, file: SourceFile, number: int) -> tuple[str, Any]:
        """Decode a picture or a class map to the stored form.

        Raises:
            UserError: it is damaged, or of another size than the other of the pair.
        """
        is_map = self.templates.strip(file.name) in self.maps
        if not is_map:
            field, pixels = super().decode(blob, file, number)
        else:
            values, said = read_class_map(blob, file.where, self.form.size)
            self.source.remarks.add(said)
            picture = self.source.manifest.picture
            classes = to_classes(values, self.table, file.where)
            field, pixels = "y", fit_map(classes, picture and picture.resize)
        self._check_size(blob, file, number)
        return field, pixels

    def _check_size(self, blob: bytes, file: SourceFile, number: int) -> None:
        """Compare the size of a file that was read with that of the other of its pair."""
        size = picture_size(blob)
        other = self._sizes.pop(number, None)
        if other is None:
            self._sizes[number] = size, file.where
        elif other[0] != size:
            sizes = [f"{width}x{height}" for width, height in (size, other[0])]
            what = f"is {sizes[0]} pixels, and {other[1]} is {sizes[1]}"
            raise UserError(file.where, what, "give both at one size")
