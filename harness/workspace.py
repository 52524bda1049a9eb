"""Workspace: the checkout with its modules, and the ignored folder of local work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.common.errors import UserErrors
from harness.config.benchmark import Benchmark, check_benchmarks, load_benchmark
from harness.config.catalog import Catalog
from harness.config.dataset import FOLDER, check_datasets
from harness.datasets import Datasets
from harness.datasets.digests import FOLDER as DIGESTS
from harness.planning.added_entries import Added, add_entry, not_taken
from harness.planning.plan import Only, Plan, make_plan
from harness.storage.store import Store, default_root


@dataclass(frozen=True)
class Workspace:
    """Checkout and its local folder.

    Attributes:
        root: the checkout: benchmarks, attacks, defenses, victims, reports.
        home: ``.gauntlet``: store, local records, fetched data, work in progress.
    """

    root: Path
    home: Path

    @classmethod
    def here(cls) -> Workspace:
        """Return the checkout around the current folder, else the one that the harness lies in."""
        from harness.common.keys import ROOT

        for folder in (Path.cwd(), *Path.cwd().parents):
            if found := cls.at(folder):
                return found
        return cls(ROOT, default_root())

    @classmethod
    def at(cls, folder: Path) -> Workspace | None:
        """Return the workspace of a checkout's root folder; ``None`` for any other folder."""
        if not all((folder / name).is_dir() for name in ("benchmarks", "attacks", "victims")):
            return None
        home = os.environ.get("GAUNTLET_HOME")
        return cls(folder, Path(home) if home else folder / ".gauntlet")

    @property
    def data(self) -> Path:
        """Fetched data sets."""
        return self.home / "data"

    @property
    def digests(self) -> Path:
        """Committed digests of data sets."""
        return self.root / FOLDER / DIGESTS

    @property
    def local_records(self) -> Path:
        """Records of runs on this machine."""
        return self.home / "records"

    @property
    def checks(self) -> Path:
        """Results of ``gauntlet check`` on this machine."""
        return self.home / "checks"

    @property
    def published_records(self) -> Path:
        """Records in git."""
        return self.root / "reports" / "records"

    @property
    def site(self) -> Path:
        """The generated pages."""
        return self.root / "reports" / "site"

    @cached_property
    def catalog(self) -> Catalog:
        """Every module of the checkout."""
        return Catalog.load(self.root)

    @cached_property
    def datasets(self) -> Datasets:
        """Every data set of the checkout.

        Raises:
            UserErrors: all mistakes of their files.
        """
        found, errors = check_datasets(self.root)
        if errors:
            raise UserErrors(errors)
        return Datasets(self.data, found, self.digests)

    def datasets_of(self, benchmarks: Iterable[Benchmark]) -> Datasets:
        """Return every data set of the checkout, and those that benchmarks name by path."""
        return self.datasets.including(own for one in benchmarks for own in one.own_data)

    def store(self) -> Store:
        """Return the artefact store; create it where it is missing."""
        return Store(self.home / "store")

    def benchmark(self, name: str, added: Iterable[str] = ()) -> Benchmark:
        """Read a benchmark by name or path.

        Args:
            name: its name or path.
            added: modules that are put into its matrices, each as ``KIND=NAME``.

        Raises:
            UserErrors: everything wrong with it.
            UserError: there is none, or no matrix takes a module.
        """
        found = load_benchmark(name, self.root)
        for one in map(Added.parse, added):
            more = add_entry(found, one, self.catalog, self.datasets)
            if more is None:
                raise not_taken(name, one, self.catalog)
            found = more
        return found

    def benchmarks(self, added: Iterable[str] = ()) -> list[Benchmark]:
        """Read every benchmark of the checkout.

        Args:
            added: modules that are put into the matrices that fit, each as ``KIND=NAME``.

        Raises:
            UserErrors: all mistakes of all files.
        """
        found, errors = check_benchmarks(
            sorted((self.root / "benchmarks").glob("*/benchmark.yaml"))
        )
        if errors:
            raise UserErrors(errors)
        for one in map(Added.parse, added):
            found = [add_entry(b, one, self.catalog, self.datasets) or b for b in found]
        return found

    def plan(
        self,
        benchmark: Benchmark,
        only: Only | None = None,
        device: str = "cpu",
        executor: str = "local",
    ) -> Plan:
        """Plan a benchmark with this checkout's modules and data."""
        return make_plan(benchmark, self.catalog, self.datasets, only, device, executor)
