"""Modules that a run adds to the matrices of a benchmark, whose file stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from harness.common.errors import UserError
from harness.config.benchmark import Benchmark, Matrix
from harness.config.catalog import FOLDERS, Catalog
from harness.config.manifest import Manifest
from harness.config.matrix_entries import Entry
from harness.datasets import Datasets


@dataclass(frozen=True)
class Added:
    """A module to be added.

    Attributes:
        kind: ``attack``, ``defense`` or ``victim``.
        entry: the module, with its variant.
        where: where a person named it.
    """

    kind: str
    entry: Entry
    where: str

    @classmethod
    def parse(cls, text: str, where: str = "--with") -> Added:
        """Read ``KIND=NAME`` or ``KIND=NAME/VARIANT``.

        >>> Added.parse("attack=pgd/pgd-40").entry.label
        'pgd/pgd-40'

        Raises:
            UserError: it is of another form.
        """
        kind, _, name = text.partition("=")
        if kind not in FOLDERS or not name.strip("/"):
            fix = f"write KIND=NAME or KIND=NAME/VARIANT, with one of {', '.join(FOLDERS)}"
            raise UserError(where, f"cannot read {text!r}", fix)
        return cls(kind, Entry.model_validate(name), where)


def add_entry(
    benchmark: Benchmark, one: Added, catalog: Catalog, sets: Datasets
) -> Benchmark | None:
    """Return a benchmark with a module in every matrix that is ``fitting``; ``None`` if none is.

    A matrix stays as it is where an entry has the label already. Cells follow the rules of all
    cells: which of them cannot be played is seen when they are planned.

    Raises:
        UserError: there is no such module, or no such variant of it.
    """
    places, key = fitting(benchmark, one, catalog, sets), FOLDERS[one.kind]
    if not places:
        return None
    matrices = list(benchmark.matrices)
    for i in places:
        if not has_entry(matrices[i], one):
            entries = (*getattr(matrices[i], key), one.entry)
            matrices[i] = matrices[i].model_copy(update={key: entries})
    return benchmark.model_copy(update={"matrices": tuple(matrices)})


def fitting(benchmark: Benchmark, one: Added, catalog: Catalog, sets: Datasets) -> list[int]:
    """Return the places of the matrices whose task and threat model a module is meant for.

    Args:
        benchmark: the benchmark as its file says.
        one: the module.
        catalog: the modules of the checkout.
        sets: the data sets of the checkout; those that the benchmark names by path are added.

    Raises:
        UserError: there is no such module, or no such variant of it.
    """
    sets = sets.including(benchmark.own_data)
    manifest = _manifest(one, catalog)
    return [
        i
        for i, matrix in enumerate(benchmark.matrices)
        if manifest.plays(matrix.threat_model)
        and sets.get(matrix.data["student"].name).task in manifest.tasks
    ]


def has_entry(matrix: Matrix, one: Added) -> bool:
    """Return whether a matrix has an entry of this label."""
    return one.entry.label in {entry.label for entry in getattr(matrix, FOLDERS[one.kind])}


def not_taken(where: str, one: Added, catalog: Catalog) -> UserError:
    """Return the mistake that no matrix of a benchmark is ``fitting``."""
    manifest = _manifest(one, catalog)
    plays = ", ".join(manifest.threat_models) or "any threat model"
    fix = f"it is for {', '.join(manifest.tasks)}, in {plays}: name another benchmark"
    return UserError(where, f"no matrix takes {one.kind} {one.entry.name}", fix)


def _manifest(one: Added, catalog: Catalog) -> Manifest:
    manifest = catalog.get(one.kind, one.entry.name, one.where).manifest
    for problem in manifest.param_problems(one.entry.variant, {}):
        raise UserError(one.where, problem.what, problem.fix)
    return manifest
