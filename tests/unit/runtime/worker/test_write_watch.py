"""Writes to mapped data sets are found without reading them, and to all others by checksums."""

import os

import numpy as np
import pytest
import torch

from harness.runtime.contracts import ContractError, Data, Spec
from harness.runtime.crops import centre_crop
from harness.runtime.worker import write_watch
from harness.runtime.worker.arrays import load_tensor, save_array
from harness.runtime.worker.hook_calls import unchanged
from harness.runtime.worker.write_watch import WriteWatch

ROWS = 64
SHAPE = (3, 32, 32)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    monkeypatch.setattr(write_watch, "SMALL", 0)


@pytest.fixture
def path(tmp_path):
    rows = np.arange(ROWS * np.prod(SHAPE)).reshape(ROWS, *SHAPE)
    save_array(tmp_path / "x.npy", (rows % 251).astype(np.uint8))
    return tmp_path / "x.npy"


def train_set(path):
    x = load_tensor(path)
    spec = Spec("classification", 2, (3, 24, 24), stored=SHAPE)
    raw = centre_crop(x, spec.shape)
    return Data(raw, torch.zeros(ROWS, dtype=torch.int64), torch.arange(ROWS), spec, CPU, x)


@pytest.fixture
def checksums(monkeypatch):
    """Sizes of the tensors that are read to find a change."""
    sizes = []

    def counted(tensor, whole=write_watch.checksum):
        sizes.append(tensor.numel())
        return whole(tensor)

    monkeypatch.setattr(write_watch, "checksum", counted)
    return sizes


def test_reading_is_no_write_and_reads_nothing_itself(path, checksums):
    data = train_set(path)
    with unchanged(data):
        assert data.x.mean() > 0
        assert data.raw.clone().mul_(0).sum() == 0
    assert max(checksums) == ROWS  # labels and ids


@pytest.mark.parametrize("part", ["raw", "uncropped", "y"])
@pytest.mark.parametrize("row", [0, ROWS - 1])
def test_one_value_that_was_written_is_found(path, part, row):
    data = train_set(path)
    with pytest.raises(ContractError, match="changed the data"), unchanged(data):
        getattr(data, part)[row] += 1


def test_the_file_and_other_maps_of_it_stay(path):
    before, data = path.read_bytes(), train_set(path)
    other = WriteWatch([load_tensor(path)])
    data.raw.zero_()
    assert path.read_bytes() == before
    assert not other.written


@pytest.mark.parametrize("kind", ["written before", "in memory", "not listed", "not counted"])
def test_what_the_system_does_not_count_is_read(path, kind, checksums, monkeypatch):
    x = torch.ones(1000) if kind == "in memory" else load_tensor(path)
    if kind == "written before":
        x[0] += 1
    if kind == "not listed":
        monkeypatch.setattr(write_watch, "SMAPS", path.parent / "no such file")
    if kind == "not counted":  # a list of maps as kernels give it that keep no such counts
        lines = write_watch.SMAPS.read_text().splitlines(keepends=True)
        listed = path.parent / "smaps"
        listed.write_text("".join(one for one in lines if not one.startswith(write_watch.COPIES)))
        monkeypatch.setattr(write_watch, "SMAPS", listed)
    watch = WriteWatch([x])
    assert not watch.written
    assert checksums == [x.numel()] * 2
    x[0] += 1
    assert watch.written


def test_a_page_that_is_not_in_memory_is_no_write(path):
    data = load_tensor(path)
    watch = WriteWatch([data])
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not watch.written
