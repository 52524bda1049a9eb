"""Data sets that benchmarks can name: bundled ones, and those that YAML files describe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.common.errors import UserError
from harness.common.text import suggest
from harness.config.dataset import DatasetManifest
from harness.datasets import stored
from harness.datasets.base import Dataset, missing_data_error
from harness.datasets.bundled import BUNDLED, code_digest
from harness.datasets.described import describe
from harness.datasets.read import reading_digest


class Datasets:
    """All data sets of a checkout.

    Args:
        root: folder of fetched sets.
        manifests: sets that are read from a source.

    Raises:
        UserError: two sets of one name.
    """

    def __init__(self, root: Path, manifests: Iterable[DatasetManifest] = ()) -> None:
        self.root = root
        self._manifests: dict[str, DatasetManifest] = {}
        for manifest in manifests:
            known = self._manifests.get(manifest.name)
            if manifest.name in BUNDLED or (known is not None and known != manifest):
                what = f"there is another data set named {manifest.name}"
                raise UserError(manifest.where(("name",)), what, "rename this one")
            self._manifests[manifest.name] = manifest

    def including(self, manifests: Iterable[DatasetManifest]) -> Datasets:
        """Return these sets and others, which a benchmark names by path."""
        return Datasets(self.root, [*self._manifests.values(), *manifests])

    def __iter__(self) -> Iterator[Dataset]:
        """Yield every data set, bundled ones first."""
        yield from BUNDLED.values()
        for _, manifest in sorted(self._manifests.items()):
            yield describe(manifest, self.root)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a set of this name."""
        return name in BUNDLED or name in self._manifests

    def get(self, name: str) -> Dataset:
        """Return a data set by name; an unknown one is a ``UserError`` with the nearest."""
        if name in BUNDLED:
            return BUNDLED[name]
        if name not in self._manifests:
            fix = suggest(name, [*BUNDLED, *self._manifests], "use one of")
            raise UserError(f"data set {name}", "there is no data set of this name", fix)
        return describe(self._manifests[name], self.root)

    def key_digest(self, name: str) -> str:
        """Return a digest of all that decides a set's splits, for stage keys.

        Of a bundled set, that is its code; of others their arrays, and what of their YAML file and
        its reader decides them. No other set is in it.

        Raises:
            DataMissing: the set has to be fetched first, or was read by another description.
        """
        manifest = self.get(name).manifest
        if manifest is None:
            return code_digest(name)
        facts, reading = stored.read_facts(name, self.root), reading_digest(manifest)
        if facts["reading"] != reading:
            raise missing_data_error(name, "its description was changed after the fetch")
        return hashlib.sha256(json.dumps([reading, facts["sha256"]]).encode()).hexdigest()

    def is_here(self, name: str) -> bool:
        """Return whether a set can be loaded."""
        try:
            self.key_digest(name)
        except UserError:
            return False
        return True

    def note(self, name: str) -> str:
        """Return what is to be said beside results on the copy of a set that is here."""
        return "" if name in BUNDLED else stored.note(name, self.root)
