"""Host stages on sets that are larger than the memory they may use."""

import subprocess
import sys

import pytest

from harness.common.keys import ROOT

BEGIN = """
import resource, sys
from pathlib import Path

import numpy as np

from harness import datasets
from harness.common.files import load_array, save_array, write_json
from harness.planning.recipe import (
    ApplyRecipe, DataRecipe, MeasureRecipe, StrongestRecipe, SubsetRecipe,
)
from harness.running import host_stages
from tests.support.large_pictures import make_set

root = Path(sys.argv[1])
PICTURES, TEST = 1200, 240
splits = make_set(root / "data", (PICTURES, 20, TEST))
datasets.load = lambda name, root: splits
write_json(root / "data" / "spec.json", splits.spec)
spec, train, test = root / "data", root / "data/train", root / "data/test"
for part in (train, test):
    part.mkdir()
    for name in ("x", "y", "ids"):
        (part / f"{name}.npy").hardlink_to(root / "data/large" / f"{part.name}_{name}.npy")
folder = root / "changes"
save_array(folder / "mask.npy", np.arange(PICTURES) % 10 > 0)
save_array(folder / "ids.npy", np.arange(120))
out, size = root / "out", splits.train.x.nbytes


def attacked(name):
    path = root / name / "x.npy"
    path.parent.mkdir()
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": splits.test.x.shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * splits.test.x.size)
    return path.parent


def edits():
    with (folder / "x.npy").open("wb") as file:
        shape = (120, *splits.train.x.shape[1:])
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * np.prod(shape))
    return {"edits": 0.1, "features": True}


def strongest(shrunk):
    subset = root / "slice"
    save_array(subset / "y" / "y.npy", np.zeros(TEST, int))
    (subset / "x").mkdir()
    (subset / "x" / "x.npy").symlink_to(test / "x.npy")
    write_json(subset / "spec.json", splits.spec)
    inputs = {"slice": subset}
    for n in range(2):
        inputs[f"attacked_{n}"] = attacked(f"a{n}")
        save_array(root / f"o{n}" / "outputs.npy", np.random.default_rng(n).random((TEST, 10)))
        inputs[f"outputs_{n}"] = root / f"o{n}"
    host_stages.strongest(StrongestRecipe(2, shrunk), inputs, out, root)


def apply(budget):
    inputs = {"train": train, "changes": folder, "spec": spec}
    host_stages.apply(ApplyRecipe(budget), inputs, out, root)


def data(*recipe):
    host_stages.data(DataRecipe("large", "digest", *recipe), {}, out, root)


def measure():
    inputs = {"clean": test, "attacked": attacked("a")}
    host_stages.measure(MeasureRecipe(8), inputs, out, root)


# private memory: maps of files that are only read do not count
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
limit = used + (112 << 20)
assert size > 180e6 and 4 * splits.test.x.nbytes > 144e6
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
"""
"""A training set of 181 MB, attacked inputs of 145 MB, and 117 MB of memory for a stage."""

STAGES = {
    "whole": "data(1.0)",
    "fraction": "data(0.9)",
    "shots": "data(1.0, 110)",
    "slice": "host_stages.slice_(SubsetRecipe(1100), {'data': train, 'spec': spec}, out, root)",
    "sanitized": "apply(None)",
    "edited": "apply(edits())",
    "measure": "measure()",
    "strongest": "strongest(False)",
    "shrunk": "strongest(True)",
}


def run(tmp_path, code):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code, str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_stages_of_the_harness_hold_parts_of_a_set(tmp_path, stage):
    done = run(tmp_path, STAGES[stage])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "whole",
    ["np.array(load_array(train / 'x.npy'))", "np.array(load_array(attacked('a') / 'x.npy'))"],
)
def test_the_limit_is_too_low_for_a_copy(tmp_path, whole):
    assert "MemoryError" in run(tmp_path, whole).stderr
