"""A trigger that is put on pictures after augmentation: crop, then flip, then trigger."""

import itertools
from dataclasses import replace

import pytest
import torch

from harness.runtime import augment, checkpoint
from harness.runtime.checkpoint import digest_of
from harness.runtime.contracts import ContractError, Overlay
from harness.runtime.recipe import Recipe
from harness.runtime.tasks import loss_for
from harness.runtime.training import fit
from harness.runtime.worker.hook_calls import unchanged
from tests.support.comparisons import pairs
from tests.unit.runtime.test_augment import larger
from tests.unit.runtime.test_training import Killed, context, data, network

ROWS = torch.arange(50)
PATCH = torch.tensor([[[0.25, 1.0], [0.0, 0.75]]])


def overlay(ids, place=(2, 1), mask=1.0, patch=PATCH):
    ids = torch.tensor(ids)
    places = torch.tensor([place]).expand(len(ids), 2)
    return Overlay(ids, patch, torch.full_like(patch, mask), places)


def at(x, top, left):
    return x[..., top : top + 2, left : left + 2]


@pytest.mark.parametrize("crop", augment.CROPS)
@pytest.mark.parametrize("flip", [False, True])
def test_the_trigger_is_whole_and_in_its_place_whatever_crop_and_flip(crop, flip):
    plain, some = larger(), [40, 3, 17]
    drawn = [
        augment.take(one, ROWS, crop, flip, torch.Generator().manual_seed(0))[0]
        for one in (plain, replace(plain, overlay=overlay(some)))
    ]
    without, marked = drawn
    assert torch.equal(at(marked, 2, 1)[some], PATCH.expand(3, 1, 2, 2))
    differs = (marked != without).any(dim=1)
    rest = differs.clone()
    at(rest, 2, 1)[some] = False
    assert not rest.any()  # outside the patch, and in the other pictures, every pixel is equal
    assert differs.flatten(1).any(dim=1).nonzero().flatten().tolist() == sorted(some)


def test_all_ways_to_read_a_set_show_the_trigger():
    plain = data()
    marked = replace(plain, overlay=overlay([7, 20]))
    taken = marked.take(ROWS)[0]
    assert torch.equal(marked.x, taken)
    assert torch.equal(torch.cat([x for x, _ in marked.batches(16)]), taken)
    assert (taken != plain.x).flatten(1).any(dim=1).nonzero().flatten().tolist() == [7, 20]
    assert torch.equal(marked.raw, plain.raw)


def test_a_part_of_a_set_keeps_the_trigger_on_its_own_pictures():
    whole = replace(data(), overlay=overlay([7, 20]))
    rows = torch.tensor([30, 20, 1])
    part = replace(whole, raw=whole.raw[rows], y=whole.y[rows], ids=whole.ids[rows])
    assert torch.equal(part.x, whole.take(rows)[0])
    assert not torch.equal(part.x[1], data().x[20])
    assert torch.equal(replace(whole, ids=100 + whole.ids).x, data().x)


def test_each_picture_may_have_a_place_of_its_own_and_the_trigger_may_be_faint():
    places = torch.tensor([[0, 0], [2, 2], [0, 0]])
    faint = Overlay(torch.tensor([5, 1, 9]), PATCH, torch.tensor([[[1, 0.5], [0, 1]]]), places)
    plain, marked = data().x, replace(data(), overlay=faint).x
    for example, (top, left) in zip([5, 1, 9], places.tolist(), strict=True):
        before = at(plain, top, left)[example, 0]
        expected = torch.stack([
            torch.stack([torch.tensor(0.25), before[0, 1] / 2 + 0.5]),
            torch.stack([before[1, 0], torch.tensor(0.75)]),
        ])  # fmt: skip
        assert torch.allclose(at(marked, top, left)[example, 0], expected)


def test_a_function_is_put_on_last_too():
    def inverted(x, ids):
        return torch.where((ids % 2 == 0)[:, None, None, None], 1 - x, x)

    args = ROWS, "stored", True
    plain = augment.take(larger(), *args, torch.Generator().manual_seed(0))[0]
    found = replace(larger(), overlay=inverted)
    x = augment.take(found, *args, torch.Generator().manual_seed(0))[0]
    assert torch.equal(x, inverted(plain, ROWS))


def test_validation_sees_the_trigger_of_its_own_set(tmp_path):
    seen = []

    def noted(net, x, y):
        if not net.training:
            seen.append(x)
        return loss_for(data().spec)(net, x, y)

    val = replace(data(), overlay=overlay([0]))
    fit(network(), data(), noted, context(tmp_path), Recipe(1, 50, 0.1), val=val)
    assert torch.equal(torch.cat(seen), val.x)


def test_a_kill_does_not_change_a_training_with_a_trigger(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SAVE_SECONDS", 0)
    calls, loss = itertools.count(), loss_for(data().spec)
    marked = replace(larger(), overlay=overlay(list(range(20))))

    def killed(net, x, y):
        if next(calls) == 7:
            raise Killed
        return loss(net, x, y)

    def run(folder, loss, train=marked):
        net = network()
        recipe = Recipe(10, 16, 0.1, crop="stored", flip=True)
        fit(net, train, loss, context(folder), recipe)
        return net.state_dict()

    whole = run(tmp_path / "a", loss)
    with pytest.raises(Killed):
        run(tmp_path / "b", killed)
    resumed = run(tmp_path / "b", loss)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    clean = run(tmp_path / "c", loss, larger())
    assert not all(torch.equal(whole[key], clean[key]) for key in whole)


def test_no_fit_resumes_from_one_with_another_trigger():
    one = overlay([1, 2])
    others = [
        None, overlay([1, 3]), overlay([1, 2], place=(0, 0)), overlay([1, 2], mask=0.5),
        overlay([1, 2], patch=1 - PATCH),
    ]  # fmt: skip
    digests = {digest_of({}, network(), replace(data(), overlay=o)) for o in [one, *others]}
    assert len(digests) == 6


@pytest.mark.parametrize("name", ["ids", "patch", "mask", "places"])
def test_a_hook_that_changes_the_trigger_is_found(name):
    marked = replace(data(), overlay=overlay([1, 2]))
    marked.overlay.tensors()[name].data = marked.overlay.tensors()[name].clone()
    with pytest.raises(ContractError), unchanged(marked):
        marked.overlay.tensors()[name].zero_().sub_(1)


def test_ranking_has_no_overlay():
    with pytest.raises(ValueError, match="an overlay in ranking"):
        replace(pairs(6), overlay=overlay([1]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"place": (3, 0)}, r"is outside at 2 of 2 places"),
        ({"place": (0, -1)}, r"is outside at 2 of 2 places"),
        ({"patch": torch.zeros(1, 5, 5)}, r"an overlay \[1, 5, 5\] on inputs \[1, 4, 4\]"),
        ({"patch": torch.zeros(3, 2, 2)}, r"an overlay \[3, 2, 2\] on inputs \[1, 4, 4\]"),
    ],
)
def test_a_trigger_outside_the_picture_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        replace(data(), overlay=overlay([1, 2], **change))


@pytest.mark.parametrize(
    "change", [{"mask": torch.ones(2, 2)}, {"places": torch.zeros(1, 2)}, {"ids": torch.ones(2, 1)}]
)
def test_tensors_that_do_not_go_together_are_refused(change):
    with pytest.raises(ValueError, match="an overlay has"):
        replace(overlay([1, 2]), **change)
