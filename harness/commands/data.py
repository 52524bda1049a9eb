"""``gauntlet data``: list data sets and weights, and fetch them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from harness.common.errors import UserError
from harness.common.files import read_json
from harness.config.dataset import load_dataset
from harness.datasets import Dataset, Datasets, read
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
            state = f"not fetched: gauntlet data fetch {data.name}"
        card = data.card
        lines = [f"{data.name} ({data.task}, {state})", f"  {card.title}", f"  {card.size}"]
        lines += [
            f"  licence: {card.license}",
            f"  cite: {card.citation}",
            f"  from: {card.source}",
        ]
        lines += [f"  note: {card.note}"] if card.note else []
        here = sets.note(data.name)
        lines += [f"  this copy: {here}"] if here else []
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
    if "/" in name:
        path = weights.fetch(workspace.catalog, name, workspace.data, from_dir)
        console.print(f"{name} is in {path}", soft_wrap=True, highlight=False)
        return
    sets, data = find_dataset(workspace, name)
    if data.manifest is None:
        console.print(f"{name} is bundled: nothing to fetch", highlight=False)
        return
    known = [one.manifest for one in sets if one.manifest is not None]
    read.fetch(data.manifest, workspace.data, from_dir, known)
    print_stored(sets, data.name, console)


def find_dataset(workspace: Workspace, text: str) -> tuple[Datasets, Dataset]:
    """Return a data set by name or by the path of its file, and all data sets.

    Raises:
        UserError: there is none.
    """
    if text.endswith(".yaml"):
        manifest = load_dataset(Path(text))
        sets = workspace.datasets.including([manifest])
        return sets, sets.get(manifest.name)
    sets = workspace.datasets
    if text not in sets:
        sets = workspace.datasets_of(workspace.benchmarks())
    return sets, sets.get(text)


def print_stored(sets: Datasets, name: str, console: Console) -> None:
    """Print what a stored data set holds: its size, digest, note and duplicates."""
    folder = sets.root / name
    lines = [
        f"{name} is in {folder} (digest {sets.key_digest(name)[:12]})",
        f"{name}: {sets.get(name).card.size}",
    ]
    lines += [f"note: {note}"] if (note := sets.note(name)) else []
    for line in (*lines, *duplicate_lines(folder)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def duplicate_lines(folder: Path) -> Iterator[str]:
    """Yield a line for each named duplicate of a fetched data set.

    Args:
        folder: of the data set; a copy of an earlier version has no duplicates recorded.
    """
    found = read_json(folder / "manifest.json").get("findings", {})
    for entry in found.get("duplicates", ()):
        for name, copy in entry["named"]:
            yield f"  {name} = {copy}"
        if (more := entry["count"] - len(entry["named"])) > 0:
            yield f"  and {more:,} more in {entry['part']} and {entry['also_in']}"
