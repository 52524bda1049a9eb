"""Random numbers of a row: the same whatever other rows of its batch an attack was given."""

import pytest
import torch
from torch import tensor

from harness.runtime.contracts import ContractError, Spec
from harness.runtime.gradients import random_start
from harness.runtime.worker.batches import Batch, handed
from tests.support.modules import context

SPEC = Spec("classification", 3, (1, 4, 4))


def test_a_part_of_a_batch_gets_its_numbers_of_the_whole(tmp_path):
    ctx, x = context(tmp_path, SPEC), torch.full((6, 1, 4, 4), 0.5)
    whole, some = torch.arange(6), tensor([4, 1])
    for norm in ("linf", "l2"):
        found = []
        for rows in (whole, some):
            with ctx.batch(Batch(rows, 12, 6, rows)):
                found.append(random_start(x[rows], norm, 0.1, ctx.generator("start"), ctx.draw))
        assert torch.equal(found[0][some], found[1])


def test_batches_differ_and_training_draws_for_the_rows_there_are(tmp_path):
    ctx = context(tmp_path, SPEC)

    def drawn():
        generator = ctx.generator()
        return ctx.draw((2, 3), lambda shape: torch.rand(shape, generator=generator))

    rows = torch.arange(2)
    with ctx.batch(Batch(rows, 0, 2, rows)):
        first = drawn()
    with ctx.batch(Batch(rows, 2, 2, rows)):
        assert not torch.equal(drawn(), first)
    assert drawn().shape == (2, 3)


def test_numbers_for_other_rows_than_the_batch_has_are_refused(tmp_path):
    ctx, rows = context(tmp_path, SPEC), torch.arange(3)
    with ctx.batch(Batch(rows, 0, 5, rows)), pytest.raises(ContractError) as caught:
        ctx.draw((2, 4), torch.zeros)
    assert str(caught.value).startswith("ctx.draw() is asked for 2 rows of a batch of 3; ")


def test_what_was_handed_over_keeps_its_batches():
    found = list(handed(tensor([0, 2, 7]), 8, 3))
    assert [one.rows.tolist() for one in found] == [[0, 1], [2]]
    assert [(one.first, one.size, one.places.tolist()) for one in found] == [
        (0, 3, [0, 2]),
        (6, 2, [1]),
    ]
    assert list(handed(torch.arange(0), 8, 3)) == []
