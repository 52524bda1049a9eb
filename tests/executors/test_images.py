"""Images: a module's own layer is built, used and removed; a failing build leaves nothing."""

import os
import subprocess
import sys

import pytest

from harness.common.errors import UserError
from harness.config.environments import Environment
from harness.executors.images import KEY, Images, no_engine
from tests.support.containers import everything, ours
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, matrix

PIN = "iniconfig==2.3.0\n"
"""A small package without dependencies; not the version that tests run with."""


@pytest.fixture
def images():
    """The engine; whatever image a test makes goes with it."""
    engine = Images.connect()
    before = {one.id for one in engine.client.images.list(filters={"label": KEY})}
    yield engine
    for built in engine.listing():
        if built.id not in before:
            engine.client.images.remove(built.id, force=True)
    engine.close()


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.mark.engine
def test_a_module_gets_what_it_requires_and_nobody_else_does(checkout, images):
    code = PERTURB.format("import iniconfig\n        return x")
    needy = checkout.module("attack", "needy", code)
    (needy / "requirements.txt").write_text(PIN, encoding="utf-8")
    checkout.module("attack", "other", code)
    tool = "assert open('/opt/tool.txt').read() == 'sharp'\n        return x"
    special = checkout.module("attack", "special", PERTURB.format(tool))
    (special / "tool.txt").write_text("sharp", encoding="utf-8")
    text = "FROM gauntlet-base\nCOPY tool.txt /opt/tool.txt\n"
    (special / "Dockerfile").write_text(text, encoding="utf-8")
    checkout.benchmark(matrix(attacks=["needy", "other", "special"]))
    done = checkout.run(executor="docker")
    assert "building, once: " in done.said
    found = {r.cell.attack: r for r in checkout.records().values()}
    assert (found["needy"].status, found["needy"].reason) == ("ok", None)
    assert (found["special"].status, found["special"].reason) == ("ok", None)
    assert found["other"].status == "module_error"
    assert "No module named 'iniconfig'" in found["other"].reason
    used = {name: record.run.images["attack"] for name, record in found.items()}
    assert len(set(used.values())) == 3
    assert used["other"] == images.id_of(None)
    assert "building" not in checkout.run(executor="docker", retry_failed=True).said
    kept = {built.key for built in images.listing() if built.id != used["needy"]}
    gone = {built.id: built for built in images.prune(kept)}
    assert "iniconfig==2.3.0" in gone[used["needy"]].what
    assert {built.key for built in images.listing()} == kept
    assert images.id_of(None) == used["other"]
    assert ours() == []


@pytest.mark.engine
def test_a_build_that_fails_is_one_line_and_leaves_nothing(checkout, images):
    folder = checkout.module("attack", "needy", PERTURB.format("return x"))
    (folder / "requirements.txt").write_text("gauntlet-no-such-package==1.0\n", encoding="utf-8")
    checkout.benchmark(matrix(attacks=["needy"]))
    before = everything(images)
    with pytest.raises(UserError, match=r"the image cannot be built: ERROR: .*no-such-package"):
        checkout.run(executor="docker")
    assert everything(images) == before
    assert checkout.leftovers() == []


@pytest.mark.engine
def test_a_missing_dependency_fails_the_build(checkout, images):
    folder = checkout.module("attack", "needy", PERTURB.format("return x"))
    (folder / "requirements.txt").write_text("python-dateutil==2.9.0.post0\n", encoding="utf-8")
    checkout.benchmark(matrix(attacks=["needy"]))
    with pytest.raises(UserError, match=r"python-dateutil .* requires six"):
        checkout.run(executor="docker")


@pytest.mark.engine
def test_an_image_that_was_not_built_is_named_with_what_to_do(images):
    with pytest.raises(UserError, match="gauntlet images --build"):
        images.id_of(Environment(pins=("nobody==1",)))


@pytest.mark.engine
def test_the_command_lists_the_base(checkout, images):
    done = checkout.gauntlet("images")
    assert "base cpu" in done.stdout
    assert images.id_of(None)[:19] in done.stdout


@pytest.mark.engine
def test_a_gpu_that_is_not_there_is_one_line(checkout, images, monkeypatch):
    """The request itself reaches the engine, which has no driver for it."""
    checkout.benchmark(matrix())
    usual = Environment("cpu")
    monkeypatch.setattr("harness.executors.gpu_probe.Environment", lambda device: usual)
    monkeypatch.setattr("harness.commands.images.build_missing", lambda *given: None)
    with pytest.raises(UserError, match=r"GPU 0 cannot be used: .*could not select device driver"):
        checkout.run(executor="docker", device="cuda")
    assert ours() == []
    assert checkout.leftovers() == []


@pytest.mark.parametrize(
    ("error", "what", "fix"),
    [
        (
            "ConnectionError(FileNotFoundError(2, 'No such file or directory'))",
            "no engine",
            "install",
        ),
        ("PermissionError(13, 'Permission denied')", "may not use", "group docker"),
        ("ReadTimeout", "no engine answers", "systemctl"),
    ],
)
def test_without_an_engine_it_says_what_is_missing_and_how_to_get_it(error, what, fix):
    told = no_engine(Exception(error))
    assert what in told.what
    assert fix in told.fix


CONNECT = """
import gc
from harness.common.errors import UserError
from harness.executors.images import Images
try:
    Images.connect()
except UserError as error:
    print(error)
gc.collect()
"""


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("unix:///nowhere.sock", "no engine is running here"),
        ("unix://nowhere.sock", "no engine is running here"),
        ("unix:///tmp", "Connection refused"),
        ("unix:///", "Invalid URL"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("tcp://127.0.0.1:port", "Port could not be cast"),
        ("nowhere", "Invalid bind address format"),
    ],
)
def test_an_absent_engine_is_one_line_and_leaves_nothing_open(host, what):
    """Development mode reports each socket that is left to the garbage collector."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", CONNECT],
        env=os.environ | {"DOCKER_HOST": host},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert what in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_no_engine_behind_docker_host(monkeypatch, checkout):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    checkout.benchmark(matrix())
    done = checkout.gauntlet("run", "b", "--executor", "docker")
    assert done.returncode == 1
    assert "no engine is running here" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = checkout.gauntlet("run", "b", "--executor", "auto")
    assert done.returncode == 0
    assert "executor: local, without isolation (no engine is running here" in done.stdout
