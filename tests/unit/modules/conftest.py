"""Fixtures of tests of single modules."""

import pytest

from tests.support.small_segmenter import trained_segmenter


@pytest.fixture
def segmenter():
    """A segmentation network of four classes in eval mode, and a set that it was trained on."""
    return trained_segmenter()
