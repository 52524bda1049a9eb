"""A data set of large pictures in little time, a network for it, and the memory of processes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np

from harness.common.files import save_array
from harness.config.dataset import DatasetManifest
from harness.datasets import Splits, stored
from harness.datasets.base import Ids, image_spec
from harness.datasets.read import reading_digest
from harness.executors.process_groups import group_members, kibibytes
from tests.support.own_data import describe

CLASSES = 10
SIDE = 224

THIN = """
from torch import nn

from harness.runtime.recipe import Recipe


class Victim:
    head, stages = "4", ("1",)

    def build(self, spec):
        return nn.Sequential(
            nn.Conv2d(spec.shape[0], 8, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
            nn.Flatten(), nn.Linear(128, spec.outputs),
        )

    def recipe(self, train):
        return Recipe(steps=20, batch=32, lr=0.01, crop="stored", flip=True)
"""
"""A network of one convolution, which trains for 20 steps on random crops."""

PATCH = """
import torch

from harness.runtime.contracts import Edits


class Attack:
    def poison(self, train, val, model, budget, ctx):
        rows = torch.arange(len(train))[: min(budget.edits, 200)]
        x, y = train.take(rows)
        x[..., -budget.patch :, -budget.patch :] = 1
        return Edits(train.ids[rows], x=x, y=torch.full_like(y, budget.target))

    def trigger(self, x, budget, ctx):
        x = x.clone()
        x[..., -budget.patch :, -budget.patch :] = 1
        return x
"""
"""A backdoor attack that reads the pictures that it edits, at most 200, and no others."""


def write_pictures(path: Path, count: int, side: int) -> None:
    """Write noise ``[count, 3, side, side]`` as ``.npy``, of which a block of 100 repeats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = np.random.default_rng(0).integers(0, 256, (100, 3, side, side), dtype=np.uint8)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, side, side)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, len(block)):
            file.write(block[: count - start].tobytes())


def describe_set(folder: Path, side: int = SIDE) -> DatasetManifest:
    """Write the file of the set, ``large.yaml``, and read it."""
    form = {"resize": side, "crop": SIDE}
    return describe(folder, name="large", class_count=CLASSES, picture=form)


def make_set(
    root: Path, counts: tuple[int, int, int], side: int = SIDE, boxes: Ids | None = None
) -> Splits:
    """Store a set of so many training, validation and test pictures, with boxes of the latter."""
    sizes = dict(zip(("train", "val", "test"), counts, strict=True))

    def write_arrays(out: Path) -> dict[str, object]:
        first = 0
        for part, count in sizes.items():
            write_pictures(out / f"{part}_x.npy", count, side)
            ids = np.arange(first, first + count)
            save_array(out / f"{part}_ids.npy", ids)
            save_array(out / f"{part}_y.npy", ids % CLASSES)
            first += count
        if boxes is not None:
            save_array(out / "test_boxes.npy", boxes)
        names = [f"class {number}" for number in range(CLASSES)]
        shape = (3, SIDE, SIDE)
        spec = image_spec("classification", names, shape, stored=(3, side, side))
        reading = reading_digest(describe_set(root / "described", side))
        return {"spec": spec, "reading": reading, "counts": sizes}

    stored.write_entry("large", root, write_arrays)
    return stored.load("large", root)


class MemoryMeter:
    """Largest memory of this process and all below it, sampled while a block runs.

    Attributes:
        own: bytes of private memory that this process took beyond what it had before.
        private: bytes of private and shared memory of the largest process (``RssAnon``,
            ``RssShmem``); this is what limits count.
        mapped: bytes of files that the largest process had mapped and touched (``RssFile``), which
            the system takes back when it needs room.
        resident: bytes of both, of the process in which their sum was largest.
    """

    def __init__(self) -> None:
        self.own = self.private = self.mapped = self.resident = 0
        self._stop = threading.Event()

    def __enter__(self) -> MemoryMeter:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        before, _ = resident(os.getpid())
        while not self._stop.is_set():
            for pid in group_members(os.getpid()):
                private, mapped = resident(pid)
                self.private = max(self.private, private)
                self.mapped = max(self.mapped, mapped)
                self.resident = max(self.resident, private + mapped)
                if pid == os.getpid():
                    self.own = max(self.own, private - before)
            time.sleep(0.02)


def resident(pid: int) -> tuple[int, int]:
    """Bytes of private and shared memory, and of mapped files, that a process has in memory."""
    status = Path(f"/proc/{pid}/status")
    names = (("RssAnon:", "RssShmem:"), ("RssFile:",))
    private, mapped = (1024 * kibibytes(status, *one) for one in names)
    return private, mapped
