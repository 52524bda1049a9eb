"""What a hook is given stays as it is, and what it returns is copied."""

import pytest
import torch

from harness.runtime.contracts import ContractError, Data, Edits, Spec
from harness.runtime.worker.hook_calls import check_edits, check_tensor, unchanged

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
