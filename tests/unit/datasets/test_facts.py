"""What is known of bundled data sets without loading them."""

import re

import pytest

from harness import datasets


@pytest.mark.parametrize("data", datasets.BUNDLED.values(), ids=lambda data: data.name)
def test_facts_are_those_of_the_card(data):
    facts, size = data.facts, data.card.size
    for count, split in ((facts.train, "train"), (facts.val, "validation"), (facts.test, "test")):
        assert re.search(rf"\b{count:,} {split}\b", size)
    if len(facts.shape) == 3:
        channels, height, width = facts.shape
        assert f"{width}x{height} {'RGB' if channels == 3 else 'grey'}" in size
    if found := re.search(r"(\d+) (classes|attributes)", size):
        assert facts.outputs == int(found[1])


@pytest.mark.parametrize("data", datasets.BUNDLED.values(), ids=lambda data: data.name)
def test_facts_are_those_of_the_arrays(data):
    splits, facts = data.bundled(), data.facts
    assert [len(split.y) for split in (splits.train, splits.val, splits.test)] == [
        facts.train, facts.val, facts.test,
    ]  # fmt: skip
    assert splits.spec["outputs"] == facts.outputs
    assert tuple(splits.spec["shape"]) == facts.shape == splits.train.x.shape[1:]
