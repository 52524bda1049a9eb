"""First judged examples of data sets, for the pages."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets import Datasets, load
from harness.datasets.hashing import hash_order
from harness.report.site.about import DataCard
from harness.report.site.samples import MOST, Samples


def data_cards(sets: Datasets) -> dict[str, DataCard]:
    """Return name → what pages say of each data set, and of its copy that is here."""
    return {
        one.name: DataCard(
            title=one.card.title,
            license=one.card.license,
            source=one.card.source,
            test=sizes.test,
            outputs=sizes.outputs,
            shape=sizes.shape,
            task=one.task,
            note=sets.note(one.name),
            train=sizes.train,
        )
        for one in sets
        if (sizes := one.here or one.facts) is not None
    }


@cache
def load_samples(root: Path, name: str) -> Samples | None:
    """Load the first judged examples of a data set.

    Args:
        root: folder of the fetched data sets.
        name: name of a data set, or of none.

    Returns:
        The examples; ``None`` where the set has no pictures or is not here.
    """
    try:
        splits = load(name, root)
    except UserError:
        return None
    test, task = splits.test, splits.spec["task"]
    if test.x.ndim != 4:
        return None
    # the order in which every cell's examples are chosen (``running.host_stages.cut``)
    rows = hash_order(test.ids, "slice")[:MOST]
    if task == "ranking":
        items = test.y[rows, :-2]
        shown = items[: MOST // items.shape[1]]
        caption = f"The first {len(shown)} comparisons, {items.shape[1]} pictures each."
        return Samples(name, np.array(test.x[shown.reshape(-1)]), caption)
    caption = f"The first {len(rows)} judged examples"
    if task == "classification":
        classes = splits.spec["classes"]
        assert isinstance(classes, list)
        caption += ": " + ", ".join(str(classes[label]) for label in test.y[rows])
    return Samples(name, np.array(test.x[rows]), f"{caption}.")
