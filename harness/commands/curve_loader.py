"""Training curves of a stage for the pages, read from the artefact store."""

from __future__ import annotations

from functools import cache, partial

from harness.commands.picture_loader import find_store
from harness.report.site.trainings import Loader, no_curves
from harness.results.training_curves import FILE, TrainingCurve, read_curves
from harness.storage.store import Store
from harness.workspace import Workspace


def make_curve_loader(workspace: Workspace) -> Loader:
    """Make a reader of curves in this machine's store; without a store there are none."""
    store = find_store(workspace)
    return no_curves if store is None else cache(partial(load_curves, store))


def load_curves(store: Store, key: str) -> tuple[TrainingCurve, ...] | None:
    """Load the curves of a stage; ``None`` where the store does not hold the stage."""
    if not store.has(key):
        return None
    try:
        return read_curves(store.path(key) / FILE)
    except OSError:  # most stages write none
        return ()
