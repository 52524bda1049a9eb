"""What a hook is given stays as it is, and what it returns is copied."""

import pytest
import torch

from harness.runtime.contracts import ContractError, Data, Edits, OutputError, Overlay, Spec
from harness.runtime.worker.hook_calls import check_edits, check_tensor, unchanged
from harness.runtime.worker.overlay_files import load_overlay, save_overlay
from tests.support.comparisons import pairs

SPEC = Spec("classification", 3, (1, 2, 2))


def data(count=6):
    raw = torch.randint(0, 256, (count, 1, 2, 2), dtype=torch.uint8)
    return Data(raw, torch.arange(count) % 3, torch.arange(count), SPEC, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
def test_what_a_hook_keeps_is_not_what_we_keep(kind):
    """F3: an attack that returns a part of one result buffer."""
    buffer = torch.ones(5, 2).to(getattr(torch, kind))
    found = check_tensor(buffer[:3], "it", (3, 2), None)
    buffer.zero_()
    assert found.all()


def test_edits_are_copies():
    train = data()
    ids, y = torch.tensor([1, 2]), torch.tensor([0, 0])
    found = check_edits(Edits(ids, y=y), train)
    ids.zero_()
    y.fill_(7)
    assert (found.ids.tolist(), found.y.tolist()) == ([1, 2], [0, 0])


@pytest.mark.parametrize("which", ["train", "val"])
@pytest.mark.parametrize("part", ["raw", "y", "ids"])
def test_data_that_a_hook_changed_are_found(which, part):
    sets = {"train": data(), "val": data(3)}
    with pytest.raises(ContractError) as caught, unchanged(*sets.values()):
        getattr(sets[which], part)[0] += 1
    assert str(caught.value) == (
        "the hook changed the data it was given in place; work on a copy (tensor.clone())"
    )


def test_data_that_are_only_read_are_fine():
    sets = data(), data(0)
    with unchanged(*sets):
        assert sets[0].x.sum() > 0


def overlay(**changes):
    fields = {
        "ids": torch.tensor([1, 2]),
        "patch": torch.ones(1, 1, 2),
        "mask": torch.ones(1, 1, 2),
        "places": torch.zeros(2, 2, dtype=torch.int64),
    }
    return Overlay(**fields | changes)


def edited(given, **fields):
    return check_edits(Edits(torch.tensor([1, 2]), overlay=given, **fields), data())


def test_overlays_are_copies_and_come_back_from_files(tmp_path):
    given = overlay()
    found = edited(given)
    given.patch.zero_()
    save_overlay(tmp_path, found.overlay)
    loaded = load_overlay(tmp_path)
    for name, tensor in overlay().tensors().items():
        assert torch.equal(tensor, loaded.tensors()[name])
    assert load_overlay(tmp_path / "overlay") is None


@pytest.mark.parametrize(
    ("given", "fields", "reason"),
    [
        ("trigger", {}, "Edits.overlay: expected Overlay, got str"),
        (overlay(), {"x": torch.zeros(2, 1, 2, 2)}, "Edits.overlay beside Edits.x"),
        (overlay(patch=torch.ones(1, 1, 2).double()), {}, "Overlay.patch: expected float32"),
        (overlay(mask=torch.tensor([[[1, torch.nan]]])), {}, "Overlay.mask: NaN or infinity"),
        (overlay(places=torch.zeros(2, 2)), {}, "Overlay.places: expected int64"),
        (overlay(places=torch.tensor([[0, 0], [0, 1]])), {}, "is outside at 1 of 2 places"),
        (overlay(patch=torch.ones(3, 1, 2), mask=torch.ones(3, 1, 2)), {}, r"on inputs \[1, 2, 2"),
    ],
)
def test_an_overlay_of_another_form_is_refused(given, fields, reason):
    with pytest.raises(OutputError, match=reason):
        edited(given, **fields)


def test_ranking_has_no_overlay():
    with pytest.raises(OutputError, match="in ranking many comparisons share an item"):
        check_edits(Edits(pairs(6).ids[:2], overlay=overlay()), pairs(6))
