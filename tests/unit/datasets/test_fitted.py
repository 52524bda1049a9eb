"""Bundled sets in another form: what conformance gives a network that takes one size alone."""

from pathlib import Path

import numpy as np
import pytest

from harness import datasets
from harness.common.errors import UserError
from harness.datasets import BUNDLED, Datasets
from harness.datasets.bundled import fitted
from harness.datasets.bundled.fitted import Form, fitted_name

FORMS = [
    ("digits", Form(1, 28, 28, 10), 1000),
    ("digits", Form(3, 70, 64, 20), 1000),
    ("digits", Form(1, 8, 8, 5), 496),
    ("digits", Form(3, 224, 224, 10), 222),
    ("digits-ranking", Form(3, 32, 32, 3), 2000),
    ("digit-scenes", Form(1, 40, 32, 6), 160),
]


@pytest.mark.parametrize(("base", "form", "count"), FORMS)
def test_a_set_has_the_form_that_its_name_says(base, form, count):
    name = fitted_name(BUNDLED[base], form)
    dataset, splits = datasets.find(name), datasets.load(name, Path())
    assert dataset.facts.shape == tuple(splits.spec["shape"]) == form[:3]
    assert dataset.facts.outputs == splits.spec["outputs"] == len(splits.spec["classes"])
    assert dataset.facts.train == len(splits.train.y) == count
    for split in (splits.train, splits.val, splits.test):
        assert split.x.dtype == np.uint8
        assert split.x.shape[1:] == form[:3]
        assert split.x.nbytes <= fitted.MOST_BYTES
        assert len(split.y) == len(split.ids)
        if base == "digit-scenes":
            assert split.y.shape == (len(split.x), *form[1:3])
            assert set(np.unique(split.y)) <= {*range(6), 255}
        elif base == "digits":
            assert split.y.max() < form.outputs
        else:
            assert split.y[:, :2].max() < len(split.x)


def test_enlarged_digits_are_the_same_digits():
    """Every second pixel's mean comes back, so labels belong to their pictures."""
    small, large = (datasets.load(name, Path()).test for name in ("digits", "digits-1x64x64-10"))
    assert (small.ids == large.ids).all()
    means = large.x.reshape(-1, 1, 8, 8, 8, 8).mean(axis=(3, 5))
    bright = small.x > 200
    assert means[bright].mean() > 150 > 100 > means[small.x == 0].mean()


def test_other_names_are_unknown_and_forms_have_keys_of_their_own():
    for name in ("digits-0x28x28-10", "digits-1x28-10", "fashion-mnist-1x28x28-10"):
        with pytest.raises(UserError, match="no data set"):
            Datasets(Path()).get(name)
    one, two = (Datasets(Path()).key_digest(f"digits-1x28x28-{k}") for k in (9, 10))
    assert one != two


@pytest.mark.parametrize("form", ["3x100000x100000-10", "1x8x8-99999999999", "100x8x8-10"])
def test_a_form_without_measure_is_none(form):
    assert datasets.find(f"digits-{form}") is None
