"""Layout ``label_maps``: pairs of a picture and a class map."""

from __future__ import annotations

from harness.common.errors import UserError
from harness.config.dataset_layouts import LabelMaps
from harness.datasets.examples import Example, Found, Source
from harness.datasets.files.source_files import SourceFile
from harness.datasets.pictures.class_maps import (
    VOID,
    class_table,
    fit_map,
    read_class_map,
    to_classes,
)
from harness.datasets.templates import Templates
from harness.datasets.walk import Decoded, Pictures, find_matches

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
    maps = frozenset(pair["y"][0] for pair in pairs.values())
    files = Pictures(source, both, numbers, mapped=True)
    decode = PairDecoder(layout, source, files, maps)
    return Found(
        [examples[name] for name in names],
        layout.class_names(),
        lambda wanted: files.read(wanted, decode),
        files.files,
        void=VOID,
    )


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


class PairDecoder:
    """Decoder of pictures and class maps, which arrive in any order, from threads.

    Args:
        layout: the layout.
        source: the source.
        files: the files.
        maps: names of the class maps among them.
    """

    def __init__(
        self, layout: LabelMaps, source: Source, files: Pictures, maps: frozenset[str]
    ) -> None:
        self.files, self.maps = files, maps
        self.table = class_table(layout)
        self.picture = source.picture
        self._seen: dict[int, tuple[tuple[int, int], str]] = {}

    def __call__(self, file: SourceFile, blob: bytes, number: int) -> Decoded:
        """Decode a file to the stored form.

        Raises:
            UserError: it is damaged, or of another size than the other of the pair.
        """
        if self.files.templates.strip(file.name) not in self.maps:
            decoded = self.files.decode(file, blob, number)
        else:
            values, remarks = read_class_map(blob, file.where, self.picture.size)
            size = values.shape[1], values.shape[0]
            classes = to_classes(values, self.table, file.where)
            decoded = Decoded("y", fit_map(classes, self.picture.resize), size, remarks)
        # one call, as two threads may have the two files
        other_size, other = self._seen.setdefault(number, (decoded.size, file.where))
        if other_size != decoded.size:
            sizes = [f"{width}x{height}" for width, height in (decoded.size, other_size)]
            what = f"is {sizes[0]} pixels, and {other} is {sizes[1]}"
            raise UserError(file.where, what, "give a picture and its class map at one size")
        return decoded
