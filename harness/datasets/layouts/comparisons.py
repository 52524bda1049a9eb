"""Layout ``comparisons``: lists of compared items, with their pictures or by number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.common.files import save_array
from harness.config.dataset_comparisons import Comparisons
from harness.config.dataset_fields import PARTS
from harness.datasets.base import Ids, comparison_spec
from harness.datasets.examples import Example, Source
from harness.datasets.layouts.comparison_arrays import store_comparisons
from harness.datasets.layouts.comparison_files import ComparisonFiles, Names, Rows
from harness.datasets.lists.comparison_lists import LINES, Comparison, majority
from harness.datasets.splitting import split_examples
from harness.datasets.stored import StoredFacts


def write(layout: Comparisons, source: Source, out: Path) -> StoredFacts | None:
    """Store the comparisons and their items, and return fields of the stored manifest.

    Returns:
        ``None`` if none of the lists is there.

    Raises:
        UserError: all mistakes of the lists, or of the pictures, at once.
    """
    files = ComparisonFiles(layout, source)
    listed = files.read_lists()
    if listed is None:
        return None
    rows = _split_rows(layout, source, listed)
    names = _item_names(layout, rows)
    if layout.items is None:
        shape = files.write_pictures(names, out)
    else:
        shape = ()
        for part in PARTS:
            save_array(out / f"{part}_x.npy", np.arange(layout.items, dtype=np.int64))
    lines = [row.line.encode() for row in rows["train"]]
    save_array(out / f"{LINES}.npy", np.array(lines, dtype=np.bytes_))
    y = {part: _labels(layout, rows[part], names[part]) for part in PARTS}
    keys = {part: [row.key for row in rows[part]] for part in PARTS}
    _note_overlaps(source, rows)
    spec = comparison_spec(
        source.manifest.classes,
        shape,
        arity=layout.arity,
        outputs=layout.dimensions,
        items=layout.items,
    )
    facts = store_comparisons(source, y, keys, names, out)
    return {"spec": spec, "columns": list(layout.columns), "files": files.digests, **facts}


def _split_rows(layout: Comparisons, source: Source, listed: Rows) -> Rows:
    """Return the rows of every split, cut from training where the manifest says so.

    Rows are cut by what they compare, so that no comparison is in two splits; in each attribute
    alike.
    """
    name, rules = source.manifest.name, source.manifest.splits
    flat = [(part, row) for part, own in listed.items() for row in own]
    examples = [Example(row.key, row.attribute, part, row.group) for part, row in flat]
    numbers = split_examples(name, examples, rules)
    rows = {part: [flat[number][1] for number in own] for part, own in numbers.items()}
    if layout.vote:
        rows = {part: majority(own) for part, own in rows.items()}
    cut = [part for part in PARTS[1:] if part not in listed and getattr(rules, part)]
    for part in (*listed, *cut):
        if not rows[part]:
            what = f"its lists leave no row for {part}"
            raise UserError(str(source.folder), what, "give the whole lists")
    if cut:
        source.remarks.say(f"{' and '.join(cut)} cut from the training list")
    return rows


def _item_names(layout: Comparisons, rows: Rows) -> Names:
    numbered = [str(item) for item in range(layout.items or 0)]
    return {
        part: numbered or sorted({item for row in own for item in row.items})
        for part, own in rows.items()
    }


def _labels(layout: Comparisons, rows: Sequence[Comparison], names: Sequence[str]) -> Ids:
    """Return int64 ``[n, arity + 2]``: item rows, label, attribute."""
    row_of = {name: number for number, name in enumerate(names)}
    found = [[*(row_of[item] for item in row.items), row.label, row.attribute] for row in rows]
    return np.array(found, dtype=np.int64).reshape(-1, layout.arity + 2)


def _note_overlaps(source: Source, rows: Rows) -> None:
    """Say which splits compare what training compares."""
    train = {row.group for row in rows["train"]}
    for part in PARTS[1:]:
        if shared := sum(row.group in train for row in rows[part]):
            source.remarks.say(f"{shared:,} {part} rows compare what train compares")
