"""Attention maps as a stage's process left them: only whole, finite and non-negative ones pass."""

import numpy as np
import pytest

from harness.common.files import save_array
from harness.executors.base import StageJob
from harness.running.output_check import check_output
from tests.support.jobs import job_file

GOOD = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def checked(folder, found):
    save_array(folder / "x" / "x.npy", np.zeros((3, 1, 4, 4), np.float32))
    for mode, array in found.items():
        save_array(folder / "out" / "maps" / f"{mode}.npy", array)
    options = {"threads": 1, "budget": {}, "batch": 2, "modes": ["activation", "grad-cam"]}
    file = job_file(("victim",), stage="maps", inputs={"x": str(folder / "x")}, options=options)
    return check_output(StageJob("ab" * 32, folder, file, 1.0, 1.0))


def test_one_map_for_each_input_and_mode_is_fine(tmp_path):
    assert checked(tmp_path, {"activation": GOOD, "grad-cam": np.zeros_like(GOOD)}) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.where(GOOD == 5, np.nan, GOOD).astype(np.float32), "negative or not finite"),
        (np.where(GOOD == 5, np.inf, GOOD).astype(np.float32), "negative or not finite"),
        (GOOD - 1, "negative or not finite"),
        (GOOD[:2], "activation.npy has shape [2, 2, 2], expected [3, None, None]"),
        (GOOD[:, :0], "activation.npy has shape [3, 0, 2], which holds no map"),
        (GOOD[:, 0], "activation.npy has shape [3, 2], expected [3, None, None]"),
        (GOOD.astype(np.float64), "activation.npy is of type float64, expected float32"),
    ],
)
def test_other_maps_are_refused(tmp_path, wrong, said):
    assert said in checked(tmp_path, {"activation": wrong, "grad-cam": GOOD})


def test_a_mode_that_is_missing_is_refused(tmp_path):
    assert "no maps/grad-cam.npy" in checked(tmp_path, {"activation": GOOD})
