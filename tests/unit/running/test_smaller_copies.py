"""What a smaller copy of the data cannot give is still told when it runs."""

import numpy as np
import pytest

from harness.common.files import save_array, write_json
from harness.running.host_stages import StageFailure, cut, targets


def test_a_copy_with_fewer_examples_ends_the_stage(tmp_path):
    for name in ("x", "y", "ids"):
        save_array(tmp_path / f"{name}.npy", np.arange(3))
    write_json(tmp_path / "spec.json", {"task": "classification", "outputs": 2, "void": None})
    with pytest.raises(StageFailure, match="asks for 4 examples, the split has 3"):
        cut({"data": tmp_path, "spec": tmp_path}, 4, tmp_path / "out", x="x", y="y")
    with pytest.raises(StageFailure, match="target 2: there are 2 classes"):
        targets(2, np.array([0]), np.array([0]), {"outputs": 2, "void": None})
