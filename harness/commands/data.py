"""``gauntlet data``: data cards, and fetching."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness import datasets
from harness.errors import UserError
from harness.workspace import Workspace


def cards(workspace: Workspace, console: Console) -> None:
    """Every data set with its card, and whether it is here."""
    for data in datasets.DATASETS.values():
        state = "bundled"
        if not data.bundled:
            try:
                datasets.digest(data.name, workspace.data)
                state = "fetched"
            except UserError:
                state = f"not here: gauntlet data fetch {data.name}"
        card = data.card
        lines = [f"{data.name} ({data.task}, {state})", f"  {card.title}", f"  {card.size}"]
        lines += [
            f"  licence: {card.licence}",
            f"  cite: {card.citation}",
            f"  from: {card.source}",
        ]
        lines += [f"  note: {card.note}"] if card.note else []
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def fetch(workspace: Workspace, name: str, from_dir: Path | None, console: Console) -> None:
    """Download a data set, or read it from a folder.

    Raises:
        UserError: no such data set, nothing to fetch, or unreadable sources.
    """
    data = datasets.get(name)
    if data.fetch is None:
        console.print(f"{name} is bundled: nothing to fetch", highlight=False)
        return
    data.fetch(workspace.data, from_dir)
    digest = datasets.digest(name, workspace.data)
    console.print(f"{name} is in {workspace.data / name} (digest {digest[:12]})", soft_wrap=True,
                  highlight=False)  # fmt: skip
