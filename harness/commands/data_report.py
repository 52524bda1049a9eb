"""Report on a stored data set: counts by class and split, remarks, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.common.text import escape
from harness.datasets import Datasets, stored
from harness.datasets.findings import Duplicates

MOST = 50
"""Classes that are listed one by one; of more, the ten with the fewest examples are."""
FEWEST = 10


def report_lines(sets: Datasets, name: str) -> Iterator[str]:
    """Yield what a stored set holds, a line each.

    Raises:
        DataMissing: it is not stored.
    """
    facts = stored.read_facts(name, sets.root)
    yield f"{name}: {sets.get(name).card.size}"
    word = "attribute" if facts["spec"]["task"] == "ranking" else "class"
    yield from class_table(facts["spec"]["classes"], facts.get("per_class", {}), word)
    if not facts["counts"]["train"]:
        yield "  no training examples: for victims with weights of their own"
    entries = facts.get("findings", {}).get("duplicates", ())
    duplicates = {Duplicates.of(entry).sentence(): entry for entry in entries}
    for remark in filter(None, sets.note(name).split("; ")):
        yield f"  {escape(remark)}"
        if remark in duplicates:
            yield from duplicate_lines(duplicates[remark])
    source = facts.get("source", "a folder")
    yield f"  read from {source} ({facts.get('layout')}), digest {sets.key_digest(name)[:12]}"
    yield f"  stored in {sets.root / name}"


def class_table(
    classes: Sequence[str], counts: Mapping[str, Sequence[int]], word: str = "class"
) -> Iterator[str]:
    """Yield the number of examples of each class in each split; nothing where none was counted.

    Args:
        classes: names of the classes.
        counts: split → count by class.
        word: heading of the names.

    >>> list(class_table(["cat", "dog"], {"train": [9, 10], "val": [0, 0], "test": [3, 0]}))
    ['  class  train   test', '  cat        9      3', '  dog       10      0']
    """
    shown = {part: own for part, own in counts.items() if any(own)}
    if not shown:
        return
    rows = sorted(range(len(classes)), key=lambda row: sum(own[row] for own in shown.values()))
    rows = sorted(rows) if len(rows) <= MOST else rows[:FEWEST]
    width = max(len(word), *(len(escape(classes[row])) for row in rows))
    yield f"  {word:{width}}  {'  '.join(f'{part:>5}' for part in shown)}".rstrip()
    for row in rows:
        numbers = "  ".join(f"{own[row]:5,}" for own in shown.values())
        yield f"  {escape(classes[row]):{width}}  {numbers}"
    if len(rows) < len(classes):
        yield f"  and {len(classes) - len(rows):,} classes with as many or more"


def duplicate_lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each named duplicate of one split in another, but the first.

    The remark above them has named that one.
    """
    for name, copy in entry["named"][1:]:
        yield f"    {name} = {copy}"
    if (more := entry["count"] - len(entry["named"])) > 0:
        yield f"    and {more:,} more in {entry['part']} and {entry['also_in']}"
