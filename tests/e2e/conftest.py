"""A whole run that several files of tests read: made once, as they share a worker."""

import shutil

import pytest

from tests.support.whole_run import MATRICES
from tests.support.workspaces import Checkout


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """Every threat model once, run once; tests only read it."""
    checkout = Checkout(tmp_path_factory.mktemp("everything"))
    checkout.benchmark(*MATRICES)
    return checkout, checkout.run()


@pytest.fixture
def checkout(everything, tmp_path):
    """The evasion matrix of the checkout that has run, store and all, for a test to spoil."""
    shutil.copytree(everything[0].root, tmp_path / "copy")
    copy = Checkout(tmp_path / "copy")
    copy.benchmark(MATRICES[0])
    return copy
