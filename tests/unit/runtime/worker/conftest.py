"""A small network, alive in this process."""

import pytest

from harness.runtime.model import freeze
from tests.support.network_service import live_of
from tests.support.small_network import SPEC, VICTIM, Small, smoothed


@pytest.fixture
def live():
    network = freeze(Small())
    return live_of(network, SPEC, VICTIM, smoothed)
