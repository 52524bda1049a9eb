"""Reading of a data set: from a source folder to what is stored."""

from __future__ import annotations

import hashlib
import tempfile
from functools import partial
from pathlib import Path

from harness.common.errors import UserError
from harness.common.keys import canonical_json
from harness.config.dataset import DatasetManifest
from harness.datasets import stored
from harness.datasets.archives import is_archive
from harness.datasets.base import DataMissing, manual_download_error, wrap_download_errors
from harness.datasets.examples import Source
from harness.datasets.layouts import READERS
from harness.datasets.mistakes import Mistakes
from harness.datasets.source_state import source_state


def reading_digest(manifest: DatasetManifest) -> str:
    """Return a digest of all in a manifest, and of its readers, that decides the arrays."""
    readers = [READERS[entry.kind].version for entry in manifest.layouts]
    return hashlib.sha256(canonical_json([manifest.reading(), readers])).hexdigest()


def fetch(manifest: DatasetManifest, root: Path, from_dir: Path | None) -> None:
    """Read a set from a folder, or download it, and store it in one step.

    Args:
        manifest: the set.
        root: data root.
        from_dir: folder with the source; ``None``: the manifest's own, or a download.

    Raises:
        UserError: there is no source, or all that is wrong with it.
    """
    folder = from_dir or manifest.source_folder()
    if folder is None and manifest.download is None:
        raise manual_download_error(manifest.name, manifest.source)
    stored.write_entry(manifest.name, root, partial(_write, manifest, folder))


def is_current(manifest: DatasetManifest, root: Path, folder: Path) -> bool:
    """Return whether a set is stored as it would be read from a folder.

    The files' names, sizes and times are compared, not their content.
    """
    try:
        facts = stored.read_facts(manifest.name, root)
        return (facts["reading"], facts.get("source"), facts.get("state")) == (
            reading_digest(manifest),
            str(folder),
            source_state(folder),
        )
    except (DataMissing, OSError):
        return False


def stored_source(name: str, root: Path) -> Path | None:
    """Return the folder that a stored set was read from, if it is still there."""
    try:
        source = stored.read_facts(name, root).get("source")
    except DataMissing:
        return None
    return Path(source) if source and Path(source).exists() else None


def _write(manifest: DatasetManifest, folder: Path | None, out: Path) -> stored.Facts:
    if folder is not None:
        if not folder.is_dir() and not (folder.is_file() and is_archive(folder.name)):
            what = "is neither a folder nor an archive"
            raise UserError(str(folder), what, "give the folder with the data")
        state = source_state(folder)  # before it is read: a change meanwhile shows the next time
        return {"source": str(folder), "state": state, **_read(manifest, folder, out)}
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        _download(manifest, Path(scratch))
        return {"source": "download", **_read(manifest, Path(scratch), out)}


def _read(manifest: DatasetManifest, folder: Path, out: Path) -> stored.Facts:
    """Read the first layout that is there."""
    for entry in manifest.layouts:
        source = Source(manifest, folder, Mistakes(str(folder)))
        facts = READERS[entry.kind].write(entry.layout, source, out)
        if facts is None:
            continue
        _compare_with_published(manifest, facts, source)
        return {
            "task": manifest.task,
            "reading": reading_digest(manifest),
            "layout": entry.kind,
            "note": source.remarks.note(),
            **facts,
        }
    kinds = " or ".join(entry.kind for entry in manifest.layouts)
    fix = f"see what its file says of {kinds}; `gauntlet data` names the source"
    raise UserError(str(folder), f"nothing in it is {manifest.name}", fix)


def _compare_with_published(manifest: DatasetManifest, facts: stored.Facts, source: Source) -> None:
    """Say that a set is not the published one, by its counts."""
    counts, published = facts["counts"], manifest.published
    assert isinstance(counts, dict)
    if published is None:
        return
    other = [
        f"{counts[part]:,} of {count:,} {part} examples"
        for part in stored.PARTS
        if counts[part] != (count := getattr(published, part))
    ]
    if other:
        source.remarks.say(f"not the published set: {', '.join(other)}")


def _download(manifest: DatasetManifest, folder: Path) -> None:
    import torchvision.datasets

    download = manifest.download
    assert download is not None  # checked by fetch
    make = getattr(torchvision.datasets, download.torchvision)
    with wrap_download_errors(manifest.name):
        for split in download.splits:
            key = "train" if isinstance(split, bool) else "split"
            make(folder, download=True, **{key: split})
