"""Files of a data source that a layout gives by name, in the folder or in its archives."""

from __future__ import annotations

from collections.abc import Collection

from harness.common.errors import UserError
from harness.common.keys import file_digest
from harness.config.dataset_fields import Layout, Part
from harness.config.dataset_layouts import ArrayPair
from harness.datasets.examples import Source
from harness.datasets.files.gzipped import LARGEST, PACKED, is_packed
from harness.datasets.files.source_files import SourceFile, find_files
from harness.datasets.templates import Templates


def find_named(
    source: Source, layout: Layout, names: Collection[str], *, largest: int = LARGEST
) -> dict[str, SourceFile]:
    """Return the files of these names that are in a source, by name; each may end in ``.gz``.

    Names are matched in any case, below the folders of ``below``. Of a file and the packed form of
    it, the packed one is read: downloads leave both. Otherwise two files of one name are a mistake.

    Args:
        source: the source.
        layout: the layout.
        names: names of files below the source.
        largest: limit of a file's size in bytes.
    """
    around = Templates(names, layout, endings=())
    wanted = {name.lower(): name for name in names}

    def known(name: str) -> str | None:
        return wanted.get(around.strip(name).lower().removesuffix(PACKED))

    found: dict[str, SourceFile] = {}
    for file in find_files(source.folder, known, largest, source.mistakes, around.reaches):
        name = known(file.name)
        assert name is not None  # find_files yields wanted names only
        other = found.get(name)
        if other is not None and is_packed(other) == is_packed(file):
            what = f"is also {other.where}"
            source.mistakes.add(UserError(file.where, what, "leave one of them"))
        elif other is None or is_packed(file):
            found[name] = file
    return found


def find_pairs(
    source: Source, layout: Layout, pairs: dict[Part, ArrayPair], *, largest: int = LARGEST
) -> dict[Part, tuple[SourceFile, SourceFile]]:
    """Return inputs and labels of each split that is there; one without the other is a mistake.

    Args:
        source: the source.
        layout: the layout.
        pairs: split → names of its files.
        largest: limit of a file's size in bytes.
    """
    names = {name for one in pairs.values() for name in (one.x, one.y)}
    found = find_named(source, layout, names, largest=largest)
    complete: dict[Part, tuple[SourceFile, SourceFile]] = {}
    for part, pair in pairs.items():
        match [name for name in (pair.x, pair.y) if name not in found]:
            case []:
                complete[part] = found[pair.x], found[pair.y]
            case [missing]:
                there = found[pair.x if missing == pair.y else pair.y]
                fix = "put the missing file beside it"
                what = f"is there without {missing}"
                source.mistakes.add(UserError(there.where, what, fix))
    return complete


def digest_of(*files: SourceFile) -> dict[str, str]:
    """Return the name of each file, or of the archive that it is in, with its SHA-256."""
    return {
        file.name if file.archive is None else file.archive.name: (
            file.sha256() if file.archive is None else file_digest(file.archive)
        )
        for file in files
    }
