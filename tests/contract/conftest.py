"""The checkout, a store and an executor that all conformance tests share."""

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from harness.common.keys import ROOT
from harness.executors.local import LocalExecutor
from harness.workspace import Workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One store for all workers of the session: a reference victim is trained once."""
    shared = tmp_path_factory.getbasetemp()
    return Workspace(
        ROOT, (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "conformance"
    )


@pytest.fixture(scope="session")
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor()) as one:
        yield one
