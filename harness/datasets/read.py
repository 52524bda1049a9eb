"""Reading of a data set: from a source folder to what is stored."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from harness.common.errors import UserError
from harness.common.keys import canonical_json, digest
from harness.config.dataset import DatasetManifest
from harness.datasets import stored
from harness.datasets.base import DataMissing
from harness.datasets.examples import Source
from harness.datasets.files.archives import is_archive, unreadable_error
from harness.datasets.files.source_state import source_state
from harness.datasets.layouts import READERS
from harness.datasets.layouts.expected import expected_files
from harness.datasets.mistakes import Mistakes
from harness.datasets.published import compare_with_published, contents_digests
from harness.datasets.stored import StoredFacts

Known = tuple[DatasetManifest, ...]


def reading_digest(manifest: DatasetManifest) -> str:
    """Return a digest of all in a manifest, and of its readers, that decides the arrays."""
    readers = [READERS[entry.kind].version for entry in manifest.layouts]
    return hashlib.sha256(canonical_json([manifest.reading(), readers])).hexdigest()


def fetch(
    manifest: DatasetManifest,
    root: Path,
    from_dir: Path | None,
    known: Iterable[DatasetManifest] = (),
) -> None:
    """Read a set from a folder, or download it, and store it in one step.

    Args:
        manifest: the set.
        root: data root.
        from_dir: folder with the source; ``None``: the manifest's own, or a download.
        known: descriptions of other sets: a copy of one of them is named as such.

    Raises:
        UserError: there is no source, or all that is wrong with it.
    """
    folder = from_dir or manifest.source_folder()
    if folder is None and manifest.download is None:
        what = "cannot be downloaded by the harness: its terms are between you and its authors"
        fix = f"get it ({manifest.source}), then `gauntlet data fetch {manifest.name} --from DIR`"
        raise UserError(f"data set {manifest.name}", what, fix)
    stored.write_entry(manifest.name, root, partial(_write, manifest, folder, tuple(known)))


def is_current(manifest: DatasetManifest, root: Path, folder: Path) -> bool:
    """Return whether a set is stored as it would be read from a folder.

    The files' names, sizes and times are compared, not their content.
    """
    try:
        facts = stored.read_facts(manifest.name, root)
        return (facts["reading"], facts.get("source"), facts.get("state")) == (
            reading_digest(manifest),
            str(folder),
            _state(manifest, folder),
        )
    except (DataMissing, OSError):
        return False


def _state(manifest: DatasetManifest, folder: Path) -> str:
    """Return a digest of the state of a source and of what it is compared with."""
    published = manifest.model_dump(mode="json", include={"published"}, warnings=False)
    return digest([source_state(folder), published])


def stored_source(name: str, root: Path) -> Path | None:
    """Return the folder that a stored set was read from, if it is still there."""
    try:
        source = stored.read_facts(name, root).get("source")
    except DataMissing:
        return None
    return Path(source) if source and Path(source).exists() else None


def _write(manifest: DatasetManifest, folder: Path | None, known: Known, out: Path) -> StoredFacts:
    if folder is not None:
        if not folder.is_dir() and not (folder.is_file() and is_archive(folder.name)):
            what = "is neither a folder nor an archive"
            raise UserError(str(folder), what, "give the folder with the data")
        try:  # before it is read: a change meanwhile shows the next time
            state = _state(manifest, folder)
        except OSError as error:
            raise unreadable_error(folder, error) from error
        return {"source": str(folder), "state": state, **_read(manifest, folder, known, out)}
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        _download(manifest, Path(scratch))
        return {"source": "download", **_read(manifest, Path(scratch), known, out)}


def _read(manifest: DatasetManifest, folder: Path, known: Known, out: Path) -> StoredFacts:
    """Read the first layout that is there."""
    for entry in manifest.layouts:
        source = Source(manifest, folder, Mistakes(str(folder)))
        facts = READERS[entry.kind].write(entry.layout, source, out)
        if facts is None:
            continue
        counts, contents = facts["counts"], contents_digests(out)
        assert isinstance(counts, dict)
        for sentence in compare_with_published(manifest, counts, contents, known):
            source.remarks.say(sentence)
        return {
            "task": manifest.task,
            "reading": reading_digest(manifest),
            "layout": entry.kind,
            "contents": contents,
            "note": source.remarks.note(),
            **facts,
        }
    what = f"nothing in it is {manifest.name}"
    raise UserError(str(folder), what, f"give a folder with {expected_files(manifest)}")


def _download(manifest: DatasetManifest, folder: Path) -> None:
    import torchvision.datasets

    download = manifest.download
    assert download is not None  # checked by fetch
    make = getattr(torchvision.datasets, download.torchvision, None)
    if not callable(make) or "download" not in inspect.signature(make).parameters:
        what = f"torchvision has nothing to download that is called {download.torchvision}"
        fix = "mend download.torchvision, or remove it"
        raise UserError(f"data set {manifest.name}", what, fix)
    try:
        for split in download.splits or (None,):
            key = "train" if isinstance(split, bool) else "split"
            make(folder, download=True, **({} if split is None else {key: split}))
    # RuntimeError: the MD5 is wrong, or no mirror answered. URLError is an OSError. ValueError: the
    # set has no such split.
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        fix = f"try again, or read a copy with `gauntlet data fetch {manifest.name} --from DIR`"
        what = f"the download failed ({reason})"
        raise UserError(f"data set {manifest.name}", what, fix) from error
