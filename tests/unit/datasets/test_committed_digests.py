"""Digests in ``benchmarks/data/digests``: made by today's descriptions, of whole published sets."""

import pytest

from harness.common.keys import ROOT
from harness.config.dataset import FOLDER, load_dataset
from harness.datasets.digests import FOLDER as DIGESTS
from harness.datasets.digests import read_digest
from harness.datasets.read import reading_digest

NAMES = sorted(path.stem for path in (ROOT / FOLDER / DIGESTS).glob("*.json"))


def test_there_are_some():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_is_of_todays_description_and_of_the_published_set(name):
    manifest = load_dataset(ROOT / FOLDER / f"{name}.yaml")
    found = read_digest(name, ROOT / FOLDER / DIGESTS)
    assert found["reading"] == reading_digest(manifest), f"gauntlet data digests {name}"
    published = manifest.published
    counts = {part: getattr(published, part) for part in ("train", "val", "test")}
    assert found["counts"] == counts
    assert "not the published set" not in found["note"]
