"""Splits of examples: those of the source, and shares of training that are cut by hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from harness.config.dataset import SplitRules
from harness.config.dataset_fields import PARTS, Part
from harness.datasets.examples import Example
from harness.datasets.hashing import hash_order, name_ids

Numbers = dict[Part, list[int]]
"""Split → numbers of its examples, ascending."""


def split_examples(name: str, examples: Sequence[Example], rules: SplitRules) -> Numbers:
    """Return the examples of each split.

    A split that the source does not give is cut from training, in each class alike: a share or a
    number of its groups, chosen by hash of their names, at least one of two. A group is never in
    two splits that are cut here. Test is cut before validation.

    Args:
        name: of the data set, which the hash depends on.
        examples: the examples; those without a split count as training.
        rules: shares to cut.
    """
    split: list[Part] = [example.split or "train" for example in examples]
    for part, share in (("test", rules.test), ("val", rules.val)):
        if share is not None and part not in split:
            for number in _cut(name, examples, split, part, share):
                split[number] = part  # type: ignore[call-overload]
    numbers: Numbers = {part: [] for part in PARTS}
    for number, part_ in enumerate(split):
        numbers[part_].append(number)
    return numbers


def _cut(
    name: str, examples: Sequence[Example], split: Sequence[Part], part: str, share: float | int
) -> list[int]:
    """Return the numbers of training examples that a split gets."""
    units: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        if split[number] == "train":
            # an example alone is a group of its own; "/" begins no name in a source
            units[example.group or f"/{example.name}"].append(number)
    by_class: dict[int, list[str]] = defaultdict(list)
    for unit, members in units.items():
        by_class[examples[members[0]].label].append(unit)
    chosen: list[int] = []
    for names in by_class.values():
        names.sort()
        count = share if isinstance(share, int) else round(share * len(names))
        count = min(max(1, count), len(names) - 1)
        order = hash_order(name_ids(f"{name}/group", names), f"{name}/{part}")
        chosen += [number for row in order[:count] for number in units[names[row]]]
    return chosen


def shared_groups(examples: Sequence[Example], numbers: Numbers) -> dict[str, int]:
    """Return how many groups are in training and in another split, by that split."""
    groups = {
        part: {examples[number].group for number in own} - {""} for part, own in numbers.items()
    }
    return {part: count for part in PARTS[1:] if (count := len(groups[part] & groups["train"]))}
