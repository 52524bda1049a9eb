"""``gauntlet export``: write an attacked training set of comparisons in its original format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from harness.commands.reproduce import open_scheduler
from harness.commands.show import find_record
from harness.common.errors import UserError
from harness.common.files import load_array
from harness.common.terminal import Terminal
from harness.datasets import load
from harness.datasets.listing import comparison_lines, flip_lines
from harness.judge.metrics import flip_mask
from harness.report.counting import Counting
from harness.results.scoring import edited_labels
from harness.workspace import Workspace


def export(workspace: Workspace, text: str, out: Path | None, console: Terminal) -> None:
    """Write the training list of a recorded poisoning cell with the attack's flips.

    Lines that were not flipped equal the original's byte for byte.

    Raises:
        UserError: no such cell, it edits no comparisons, it is stale and its artefacts are gone,
            or the file cannot be written.
    """
    found = find_record(workspace, text)
    record = found.record
    if "edits" not in record.stages:
        fix = "name a poisoning cell of a ranking benchmark that is ok"
        raise UserError(record.id, "has no edited comparisons", fix)
    lines = edited_lines(workspace, found, console)
    if found.warning is not None:
        text = f"{record.id}: {found.warning}"
        Terminal(stderr=True).print(text, soft_wrap=True, highlight=False, markup=False)
    if out is None:
        console.write_exactly("".join(lines))
        return
    try:
        out.write_bytes("".join(lines).encode())
    except OSError as error:
        raise UserError(str(out), f"cannot be written ({error})", "name another file") from error
    console.print(f"{len(lines):,} lines in {out}", soft_wrap=True, highlight=False)


def edited_lines(workspace: Workspace, found: Counting, console: Console) -> list[str]:
    """Return the lines of a cell's training comparisons after the attack, line ends included."""
    record = found.record
    name, stages, store = record.cell.data["student"], record.stages, workspace.store()
    wanted = [stages["rows"], stages["edits"]]
    if not all(store.has(key) for key in wanted):
        plan, cells = found.current().plan, [found.current().cell]
        with open_scheduler(workspace, plan, cells, record, workspace.home, console) as scheduler:
            scheduler.run_stages(wanted)
    train = load(name, workspace.data).train
    before = train.y.astype(np.int64, copy=False)
    after = edited_labels(store.part(stages["edits"], "edits"), train.ids, before)
    flipped = np.flatnonzero(flip_mask(before, after)).tolist()
    lines = comparison_lines(name, workspace.data)
    lines = flip_lines(name, workspace.data, lines, flipped)
    present = load_array(store.part(stages["rows"], "y") / "ids.npy")
    # a cell may train on a share of the training set: the list holds that share alone
    return [line for line, kept in zip(lines, np.isin(train.ids, present), strict=True) if kept]
