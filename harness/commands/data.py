"""``gauntlet data``: list data sets and weights, and fetch them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from harness import datasets
from harness.common.errors import UserError
from harness.common.files import read_json
from harness.planning import weights
from harness.workspace import Workspace


def print_cards(workspace: Workspace, console: Console) -> None:
    """Print the card of every data set and of every victim's weights, and whether it is here."""
    for data in datasets.DATASETS.values():
        state = "bundled"
        if not data.bundled:
            try:
                datasets.digest(data.name, workspace.data)
                state = "fetched"
            except UserError:
                state = f"not fetched: gauntlet data fetch {data.name}"
        card = data.card
        lines = [f"{data.name} ({data.task}, {state})", f"  {card.title}", f"  {card.size}"]
        lines += [
            f"  licence: {card.license}",
            f"  cite: {card.citation}",
            f"  from: {card.source}",
        ]
        lines += [f"  note: {card.note}"] if card.note else []
        here = datasets.copy_note(data.name, workspace.data)
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
        paths = weights.fetch(workspace.catalog, name, workspace.data, from_dir)
        place = paths[0] if len(paths) == 1 else paths[0].parent
        console.print(f"{name} is in {place}", soft_wrap=True, highlight=False)
        return
    data = datasets.get(name)
    if data.fetch is None:
        console.print(f"{name} is bundled: nothing to fetch", highlight=False)
        return
    data.fetch(workspace.data, from_dir)
    digest = datasets.digest(name, workspace.data)
    where = f"{name} is in {get_folder(workspace, name)} (digest {digest[:12]})"
    console.print(where, soft_wrap=True, highlight=False)
    if note := datasets.copy_note(name, workspace.data):
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    for line in duplicate_lines(get_folder(workspace, name)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def get_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder of a fetched data set; two data sets may share one."""
    return workspace.data / datasets.cache_entry(name).name


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
