"""Data sets that benchmarks can name: bundled ones, and those that YAML files describe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.common.errors import UserError
from harness.common.text import suggest
from harness.config.dataset import DatasetManifest
from harness.datasets import stored
from harness.datasets.base import DataMissing, Dataset, missing_data_error
from harness.datasets.bundled import BUNDLED, code_digest, find
from harness.datasets.described import describe
from harness.datasets.digests import digest_of, read_digest
from harness.datasets.findings import shared_sentence
from harness.datasets.read import reading_digest
from harness.datasets.remarks import join_notes

OTHER_COPY = "not the copy of the committed digest"
"""Note beside results on a set that differs from the one that the checkout's keys are of."""


class Datasets:
    """All data sets of a checkout.

    Args:
        root: folder of fetched sets.
        manifests: sets that are read from a source.
        digests: folder of committed digests, which count where a set is not stored.

    Raises:
        UserError: two sets of one name.
    """

    def __init__(
        self,
        root: Path,
        manifests: Iterable[DatasetManifest] = (),
        digests: Path | None = None,
    ) -> None:
        self.root, self.digests = root, digests
        self._manifests: dict[str, DatasetManifest] = {}
        for manifest in manifests:
            known = self._manifests.get(manifest.name)
            # they may say the same wherever their files lie
            said = [one and one.model_dump(warnings=False) for one in (known, manifest)]
            if find(manifest.name) or (known is not None and said[0] != said[1]):
                what = f"there is another data set named {manifest.name}"
                raise UserError(manifest.where(("name",)), what, "rename this one")
            self._manifests[manifest.name] = manifest

    def including(self, manifests: Iterable[DatasetManifest]) -> Datasets:
        """Return these sets and others, which a benchmark names by path."""
        return Datasets(self.root, [*self._manifests.values(), *manifests], self.digests)

    def __iter__(self) -> Iterator[Dataset]:
        """Yield every data set, bundled ones first."""
        yield from BUNDLED.values()
        for _, manifest in sorted(self._manifests.items()):
            yield describe(manifest, self.root, self.committed(manifest.name))

    def __contains__(self, name: object) -> bool:
        """Return whether there is a set of this name."""
        return name in self._manifests or (isinstance(name, str) and find(name) is not None)

    def get(self, name: str) -> Dataset:
        """Return a data set by name; an unknown one is a ``UserError`` with the nearest."""
        if (bundled := find(name)) is not None:
            return bundled
        if name not in self._manifests:
            fix = suggest(name, [*BUNDLED, *self._manifests], "use one of")
            raise UserError(f"data set {name}", "there is no data set of this name", fix)
        return describe(self._manifests[name], self.root, self.committed(name))

    def key_digest(self, name: str) -> str:
        """Return a digest of all that decides a set's splits, for stage keys.

        Of a bundled set, that is its code; of others their arrays, and what of their YAML file and
        its reader decides them. No other set is in it. Of a set that is not stored here, it is the
        committed one, so that keys are those of a machine that has it.

        Raises:
            DataMissing: the set has to be fetched first, or was read by another description.
        """
        if name not in self._manifests:
            self.get(name)  # an unknown one is an error
            return code_digest(name)
        reading, committed = reading_digest(self._manifests[name]), self.committed(name)
        try:
            arrays = self._read(name)["sha256"]
        except DataMissing:
            if committed is None:
                raise
            arrays = committed["sha256"]
        return stored.key_digest(reading, arrays)

    def share(self, name: str, examples: int) -> float:
        """Return the share of a set's training examples that is a number of them.

        The same examples get one stage, however their amount is written. Of a set that is not
        stored here, the committed digest counts, as for keys.

        Args:
            name: a set whose digest is known.
            examples: the number.

        Raises:
            DataMissing: this copy has fewer, where the published set has enough.
        """
        if (bundled := find(name)) is not None and bundled.facts is not None:
            there = bundled.facts.train
        else:
            there = int(self._known(name)["counts"]["train"])
        if examples > there:
            what = f"{examples:,} training examples are asked for, and this copy has {there:,}"
            raise DataMissing(f"data set {name}", what, "read a whole copy")
        return examples / there

    def check_here(self, name: str) -> None:
        """Check that a set can be loaded.

        Raises:
            DataMissing: it has to be fetched first, or was read by another description.
        """
        if name in self._manifests:
            self._read(name)
        else:
            self.get(name)  # an unknown one is an error

    def is_here(self, name: str) -> bool:
        """Return whether a set can be loaded."""
        try:
            self.check_here(name)
        except UserError:
            return False
        return True

    def note(self, name: str) -> str:
        """Return what is to be said beside results on a set's copy here, else the committed one."""
        found = self._known(name)
        different = self.is_here(name) and self._is_other_copy(name)
        return join_notes(str(found.get("note", "")), OTHER_COPY if different else "")

    def shared(self, name: str) -> str:
        """Say what a set has in two splits; empty: nothing that is known."""
        found = self._known(name)
        return str(found["shared"]) if "shared" in found else shared_sentence(found)

    def committed(self, name: str) -> Mapping[str, Any] | None:
        """Return the committed digest of a set, if it was made by today's description of it."""
        found = read_digest(name, self.digests) if name in self._manifests else None
        if found is None or found["reading"] != reading_digest(self._manifests[name]):
            return None
        return found

    def _read(self, name: str) -> Mapping[str, Any]:
        """Return the stored manifest of a set."""
        manifest = self._manifests[name]
        try:
            found = stored.read_facts(name, self.root)
        except DataMissing as error:
            raise missing_data_error(name, error.what, manifest.read_command()) from error
        if found["reading"] != reading_digest(manifest):
            what = "its description was changed after the fetch"
            raise missing_data_error(name, what, manifest.read_command())
        return found

    def _known(self, name: str) -> Mapping[str, Any]:
        """Return what is known of a set's copy here, else of the committed one."""
        if name not in self._manifests:
            return {}
        try:
            return self._read(name)
        except DataMissing:
            return self.committed(name) or {}

    def _is_other_copy(self, name: str) -> bool:
        committed = self.committed(name)
        return committed is not None and committed != digest_of(self._known(name))
