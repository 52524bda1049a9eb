"""``gauntlet data``: list data sets and weights, fetch and check them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.commands.data_report import report_lines
from harness.commands.placeholders import unwritten
from harness.common.errors import UserError
from harness.config.dataset import MANIFEST, DatasetManifest, load_dataset
from harness.datasets import Dataset, Datasets, read
from harness.datasets.digests import write_digest
from harness.planning import weights
from harness.workspace import Workspace


def print_cards(workspace: Workspace, console: Console) -> None:
    """Print the card of every data set and of every victim's weights, and whether it is here."""
    sets = workspace.datasets_of(workspace.benchmarks())
    for data in sets:
        state = "fetched"
        if data.manifest is None:
            state = "bundled"
        elif not sets.is_here(data.name):
            state = f"not fetched: {data.manifest.read_command()}"
        card = data.card
        lines = [f"{data.name} ({data.task}, {state})", f"  {card.title}", f"  {card.size}"]
        lines += [
            f"  licence: {card.license}",
            f"  cite: {card.citation}",
            f"  from: {card.source}",
        ]
        lines += [f"  note: {card.note}"] if card.note else []
        copy = "this copy" if sets.is_here(data.name) else "the copy of its committed digest"
        lines += [f"  {copy}: {said}"] if (said := sets.note(data.name)) else []
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    for module in workspace.catalog.of("victim"):
        for name, given in module.manifest.weights.items():
            label = f"{module.manifest.name}/{name}"
            try:
                weights.find(weights.weights_recipe(module, name), workspace.data)
                state = "fetched"
            except UserError:
                state = f"not fetched: gauntlet data fetch {label}"
            for line in (
                f"{label} (weights, {state})",
                f"  licence: {given.license}",
                f"  from: {given.source}",
                f"  trained on: {given.trained_on or 'not said'}",
                *(f"  claims: {c.metric} {c.value:g} ({c.source})" for c in given.claims),
            ):
                console.print(line, soft_wrap=True, highlight=False, markup=False)


def fetch(workspace: Workspace, name: str, from_dir: Path | None, console: Console) -> None:
    """Download a data set or weights, or read them from a folder.

    Raises:
        UserError: no such data set, nothing to fetch, or unreadable sources.
    """
    if "/" in name and not is_dataset_path(Path(name)):
        paths = weights.fetch(workspace.catalog, name, workspace.data, from_dir)
        place = paths[0] if len(paths) == 1 else paths[0].parent
        console.print(f"{name} is in {place}", soft_wrap=True, highlight=False)
        return
    sets, data = find_dataset(workspace, name)
    if data.manifest is None:
        console.print(f"{name} is bundled: nothing to fetch", highlight=False)
        return
    folder = None if from_dir is None else from_dir.resolve()
    read.fetch(data.manifest, workspace.data, folder, manifests_of(sets))
    print_report(sets, data.name, console)


def manifests_of(sets: Datasets) -> list[DatasetManifest]:
    """Return the manifests of all sets that are read from a source."""
    return [one.manifest for one in sets if one.manifest is not None]


def is_dataset_path(path: Path) -> bool:
    """Return whether a path is that of a data set's file, or of its folder."""
    return path.suffix == ".yaml" or (path / MANIFEST).is_file()


def find_dataset(workspace: Workspace, text: str) -> tuple[Datasets, Dataset]:
    """Return a data set by name or by the path of its file or folder, and all data sets.

    Raises:
        UserError: there is none.
    """
    if is_dataset_path(Path(text)):
        manifest = load_dataset(Path(text))
        sets = workspace.datasets.including([manifest])
        return sets, sets.get(manifest.name)
    sets = workspace.datasets
    if text not in sets:
        sets = workspace.datasets_of(workspace.benchmarks())
    return sets, sets.get(text)


def write_digests(workspace: Workspace, name: str, console: Console) -> None:
    """Write the digest of a stored set to the checkout, to be committed.

    Raises:
        UserError: no such data set, it is bundled, or not stored as it is described.
    """
    sets, data = find_dataset(workspace, name)
    if data.manifest is None:
        console.print(f"{name} is bundled: its code is its digest", highlight=False)
        return
    sets.check_here(data.name)
    path = write_digest(data.name, workspace.data, workspace.digests)
    console.print(f"{path}: written", soft_wrap=True, highlight=False)


def check_data(workspace: Workspace, name: str, from_dir: Path | None, console: Console) -> None:
    """Read a data set once, store it, and print what it holds.

    It is read from the given folder, else from its manifest's, else from the folder of the last
    time; what is stored counts where none of them has changed, or none is there.

    Args:
        workspace: the checkout.
        name: name of the set, or the path of its file or folder.
        from_dir: folder with the source.
        console: shows the report.

    Raises:
        UserError: there is no such set, or all that is wrong with it.
    """
    sets, data = find_dataset(workspace, name)
    manifest = data.manifest
    if manifest is None:
        console.print(f"{data.name} is bundled: {data.card.size}", highlight=False, soft_wrap=True)
        return
    folder = from_dir or manifest.source_folder() or read.stored_source(data.name, workspace.data)
    if folder is not None:
        folder = folder.resolve()
        if not read.is_current(manifest, workspace.data, folder):
            read.fetch(manifest, workspace.data, folder, manifests_of(sets))
    elif not sets.is_here(data.name):
        what = "is not here, and its manifest names no folder"
        fix = f"gauntlet check {name} --from DIR"
        raise UserError(f"data set {data.name}", what, fix)
    print_report(sets, data.name, console)


def print_report(sets: Datasets, name: str, console: Console) -> None:
    """Print what a stored data set holds, and what its card lacks."""
    manifest = sets.get(name).manifest
    lines = [*report_lines(sets, name)]
    lines += [f"warning: {error}" for error in unwritten(manifest)] if manifest else []
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
