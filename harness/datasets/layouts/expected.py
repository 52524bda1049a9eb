"""What the layouts of a data set look for in a source, in words for messages."""

from __future__ import annotations

from collections.abc import Iterable

from harness.config.dataset import DatasetManifest
from harness.config.dataset_comparisons import Comparisons, RankedFeatures
from harness.config.dataset_fields import Layout
from harness.config.dataset_layouts import (
    ArrayFiles,
    Arrays,
    ClassFolders,
    LabelMaps,
    Tables,
    Torchvision,
)


def expected_files(manifest: DatasetManifest) -> str:
    """Return the files or templates of a data set's layouts, separated by semicolons.

    Each is a sign of its layout: a source without any of them does not hold the set.
    """
    found = (" and ".join(dict.fromkeys(_signs(entry.layout))) for entry in manifest.layouts)
    return "; or ".join(dict.fromkeys(found))


def _signs(layout: Layout) -> Iterable[str]:
    match layout:
        case ClassFolders():
            return (" or ".join(layout.files),)
        case Tables():
            return (" or ".join(table.file) for table in layout.tables)
        case LabelMaps():
            return layout.pictures, layout.maps
        case Arrays(archive=str(archive)):
            return (archive,)
        case ArrayFiles():
            return (f"{pair.x} with {pair.y}" for pair in layout.files.values())
        case Torchvision():
            return (f"the download of torchvision's {layout.class_}",)
        case Comparisons():
            return (" or ".join(sorted({text for some in layout.lists for text in some.values()})),)
        case RankedFeatures():
            return (layout.file,)
    return ()
