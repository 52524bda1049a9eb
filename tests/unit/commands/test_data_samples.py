"""Pictures above the first number: the first judged examples, as the data set has them."""

import numpy as np
import pytest
from PIL import Image

from harness import datasets
from harness.commands.data_samples import data_cards, load_samples
from harness.datasets.hashing import hash_order
from harness.report.site.samples import MOST
from tests.support.sources import all_sets


def test_the_first_digits_are_those_that_are_judged_first(tmp_path):
    test = datasets.load("digits", tmp_path).test
    samples = load_samples(tmp_path, "digits")
    rows = hash_order(test.ids, "slice")[:MOST]
    np.testing.assert_array_equal(samples.images, test.x[rows])
    labels = ", ".join(str(label) for label in test.y[rows])
    assert samples.caption == f"The first 8 judged examples: {labels}."


def test_labels_are_the_names_of_classes_not_their_numbers(tmp_path):
    caption = load_samples(tmp_path, "digits-5-9").caption
    assert set(caption.removesuffix(".").partition(": ")[2].split(", ")) <= set("56789")


def test_comparisons_show_their_items_side_by_side(tmp_path):
    test = datasets.load("digits-ranking", tmp_path).test
    samples = load_samples(tmp_path, "digits-ranking")
    first = test.y[hash_order(test.ids, "slice")[0]]
    np.testing.assert_array_equal(samples.images[:2], test.x[first[:2]])
    assert samples.caption == "The first 4 comparisons, 2 pictures each."


@pytest.mark.parametrize("name", ["digits", "digit-scenes"])
def test_the_strip_keeps_every_pixel_of_small_pictures(name, tmp_path):
    samples = load_samples(tmp_path, name)
    samples.save(tmp_path)
    strip = np.asarray(Image.open(tmp_path / samples.path))
    _, channels, height, width = samples.images.shape
    grow = strip.shape[0] // height
    assert strip.shape[0] == height * grow
    tile = strip[::grow, : width * grow : grow]
    shown = np.moveaxis(samples.images[0], 0, 2)
    np.testing.assert_array_equal(tile[..., :3], np.repeat(shown, 3 // channels, axis=2))
    gaps = strip[0, :, 3] == 0
    assert gaps.sum() == 2 * (len(samples.images) - 1)
    assert samples.size[1] == 48


@pytest.mark.parametrize("name", ["camvid", "food", "pubfig", "", "unknown"])
def test_without_pictures_or_data_there_are_none(name, tmp_path):
    assert load_samples(tmp_path, name) is None


def test_every_data_set_has_a_card(tmp_path):
    sets = all_sets(tmp_path)
    cards = data_cards(sets)
    assert set(cards) == {data.name for data in sets if data.facts is not None}
    assert cards.keys() >= datasets.BUNDLED.keys()
    for card in cards.values():
        assert card.title
        assert card.license
        assert card.source
