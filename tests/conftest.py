"""Markers: ``engine`` needs a Docker engine that answers, ``slow`` is not in ``make quick``."""

import fcntl
import signal
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from harness.common.errors import UserError
from harness.executors.images import Images
from tests.support import errors
from tests.support.containers import tell_apart

REAL = {"real", "food_root"}
"""Fixtures that read real data sets: their tests are slow."""


def pytest_configure(config):
    config.addinivalue_line("markers", "engine: needs a Docker engine")
    config.addinivalue_line("markers", "slow: takes a second or more, or reads a real data set")
    # what a shell starts in the background ignores Ctrl-C, and so would all that a test starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


def without_engine():
    """Return why no engine can be used, or ``""``."""
    try:
        Images.connect().close()
    except UserError as error:
        return error.what
    return ""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.name.startswith("test_real_") or REAL & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.slow)
    wanting = [item for item in items if item.get_closest_marker("engine")]
    reason = without_engine() if wanting else ""
    for item in wanting:
        item.add_marker(pytest.mark.xdist_group("engine"))
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"needs a Docker engine: {reason}"))
        else:
            # a list of its own: the variants of a test share theirs, and not all need an engine
            item.fixturenames = ["base_image", *item.fixturenames]


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum("needs a Docker engine" in str(report.longrepr) for report in skipped)
    if count:
        reason = without_engine() or "none answers"
        terminalreporter.write_line(f"{count} tests need a Docker engine and did not run: {reason}")


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory):
    """Tell which folders are called ``<tmp>`` in the wording of errors."""
    errors.temporary = tmp_path_factory.getbasetemp()


@pytest.fixture(scope="session")
def base_image():
    """Build the image of stages; one process at a time tests on the engine, which all share."""
    with (Path(tempfile.gettempdir()) / "gauntlet-tests.lock").open("a") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(
                "another process tests on this engine: wait for it, or -n with --dist loadgroup"
            )
        with closing(Images.connect()) as engine:
            engine.build([None], lambda line: None)
        tell_apart()
        yield
