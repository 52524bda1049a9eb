"""What is said of a build that failed: all that `pip check` found, or one error."""

import pytest

from harness.executors.image_build import failure_line


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (["Step 1", "a 1.0 requires b, which is not installed.", "a 1.0 has requirement c<2, but "
          "you have c 3.", "returned 1"],
         "a 1.0 requires b, which is not installed.; a 1.0 has requirement c<2, but you have c 3."),
        (["Step 1", "ERROR: no version of x", "ERROR: no match for x"], "ERROR: no version of x"),
        (["Step 1", "returned 1"], "returned 1"),
        ([], "its log is empty"),
    ],
)  # fmt: skip
def test_the_line_names_everything_that_is_missing(log, said):
    assert failure_line(log) == said
