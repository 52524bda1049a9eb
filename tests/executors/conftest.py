"""An engine, and modules with Dockerfiles."""

import pytest

from harness.executors.images import Images
from tests.support.containers import everything
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout


@pytest.fixture
def engine():
    """The engine; whatever image a test makes goes with it."""
    found = Images.connect()
    before = everything(found)
    yield found
    for built in found.listing():
        if built.id not in before["images"]:
            found.client.images.remove(built.id, force=True)
    after = everything(found)
    found.close()
    assert after == before


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def module(checkout):
    """Writes an attack with a Dockerfile, and returns it."""

    def make(text, code="return x", name="odd", files=(), pins=""):
        folder = checkout.module("attack", name, PERTURB.format(code))
        (folder / "Dockerfile").write_text(f"FROM gauntlet-base\n{text}\n", encoding="utf-8")
        for file, content in dict(files).items():
            (folder / file).write_text(content, encoding="utf-8")
        if pins:
            (folder / "requirements.txt").write_text(pins, encoding="utf-8")
        return checkout.workspace().catalog.get("attack", name, "")

    return make
