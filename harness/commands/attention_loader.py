"""First examples of a cell with its attention maps, read from the artefact store for the pages."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.commands.picture_loader import find_store
from harness.common.files import load_array, read_json
from harness.judge.attention import Looks
from harness.judge.classification import predicted_classes
from harness.judge.draws import first_draw
from harness.report.site.albums import Loader
from harness.report.site.attention_choice import AttentionFrames
from harness.results.attention import load_attention
from harness.results.goals import foreign_labels
from harness.results.records import Record
from harness.storage.store import Store
from harness.workspace import Workspace


def make_attention_loader(workspace: Workspace) -> Loader | None:
    """Make a reader of frames in this machine's store; ``None`` where there is no store."""
    store = find_store(workspace)
    return None if store is None else partial(load_attention_frames, store)


def load_attention_frames(store: Store, record: Record) -> AttentionFrames | None:
    """Load the kept images of a record's cell with their maps; ``None`` where some are missing."""
    stages = record.stages
    try:
        seen = load_attention(stages, store).looks
        attacked = load_array(store.part(stages["measure"], "pictures") / "attacked.npy")
        subset = stages["slice"]
        images, labels, rows = (
            load_array(store.part(subset, part) / f"{part}.npy") for part in ("x", "y", "rows")
        )
        before, after = (
            predicted_classes(first_draw(np.array(load_array(path / "outputs.npy")), 2))
            for path in (store.part(stages[one], "outputs") for one in ("before", "after"))
        )
        target = None
        if "goal" in stages and not foreign_labels(record.cell, "teacher" in stages):
            target = load_array(store.part(stages["goal"], "goal") / "goal.npy")
        classes = read_json(store.part(subset, "spec.json"))["classes"]
    except (OSError, KeyError, ValueError, IndexError):
        return None
    n = len(attacked)
    first = list(range(n))
    return AttentionFrames(
        index=np.array(rows[:n]),
        image=np.array(images[:n]),
        attacked=np.array(attacked),
        label=np.array(labels[:n]),
        before=before[:n],
        after=after[:n],
        target=None if target is None else np.array(target[:n]),
        classes=tuple(map(str, classes)),
        looks={
            mode: Looks(one.maps_before[:n], one.maps_after[:n], one.places.take(first))
            for mode, one in seen.items()
        },
    )
