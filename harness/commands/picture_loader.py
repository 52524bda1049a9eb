"""Pictures of a segmentation cell for the pages, read from the artefact store."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.common.errors import UserError
from harness.common.files import load_array, read_json
from harness.judge.draws import first_draw
from harness.report.site.frames import Frames, choose
from harness.report.site.gallery import Loader
from harness.results.records import Record
from harness.storage.store import Store
from harness.workspace import Workspace


def find_store(workspace: Workspace) -> Store | None:
    """Return this machine's store; ``None`` where there is none."""
    # A report must not create a store, nor fail where none can be created.
    if not (workspace.home / "store").is_dir():
        return None
    try:
        return workspace.store()
    except UserError:
        return None


def make_loader(workspace: Workspace) -> Loader | None:
    """Make a reader of frames in this machine's store; ``None`` where there is no store."""
    store = find_store(workspace)
    return None if store is None else partial(load_frames, store)


def load_frames(store: Store, record: Record) -> Frames | None:
    """Load the kept images of a record's cell; ``None`` where some are missing."""
    stages = record.stages
    try:
        kept = load_array(store.part(stages["measure"], "pictures") / "attacked.npy")
        rows = choose(len(kept))
        images = store.part(stages["slice"], "x") / "x.npy"
        labels = store.part(stages["slice"], "y") / "y.npy"
        before, after = (store.part(stages[one], "outputs") for one in ("before", "after"))
        sizes = store.part(stages["measure"], "distances")
        shared = store.part(stages["measure"], "common")
        mean, spectrum = (np.array(load_array(shared / f"{n}.npy")) for n in ("mean", "spectrum"))
        void = read_json(store.part(stages["slice"], "spec.json"))["void"]
        image, attacked, truth, first, last, linf, mse = (
            np.array(array[rows])
            for array in (
                load_array(images),
                kept,
                load_array(labels),
                first_draw(load_array(before / "outputs.npy"), 3),
                first_draw(load_array(after / "outputs.npy"), 3),
                load_array(sizes / "linf.npy"),
                load_array(sizes / "mse.npy"),
            )
        )
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return Frames(rows, image, attacked, first, last, truth, linf, mse, mean, spectrum, void)
