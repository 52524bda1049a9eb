"""Tensors that cross in memory files."""

import os

import torch

from harness.runtime.worker.tensor_files import Outbox


def test_what_was_put_keeps_no_graph_alive() -> None:
    outbox = Outbox()
    x = torch.ones(2, 3, requires_grad=True)
    for _ in range(2):
        _, descriptor, copies = outbox.put([x * 2])
        if descriptor is not None:
            os.close(descriptor)
    assert not any(one.requires_grad for one in copies)
    assert copies[0].tolist() == [[2.0] * 3] * 2
