"""Folders that are traps: what a module's files try before any code of it runs."""

import os

import pytest

from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, matrix

EXECUTORS = ["local", pytest.param("docker", marks=pytest.mark.engine)]


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path / "root")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "id_rsa").write_text("hunter2")
    made.module("attack", "odd", PERTURB.format("return x"))
    made.benchmark(matrix(attacks=["odd"]))
    return made


LINKS = {
    "a link to a file": lambda folder, secret: (folder / "x").symlink_to(secret / "id_rsa"),
    "a link to a folder": lambda folder, secret: (folder / "x").symlink_to(secret),
    "a link below a folder": lambda folder, secret: (
        (folder / "sub").mkdir(),
        (folder / "sub" / "x").symlink_to(secret / "id_rsa"),
    ),
    "requirements that are a link": lambda folder, secret: (folder / "requirements.txt").symlink_to(
        secret / "id_rsa"
    ),
    "a Dockerfile that is a link": lambda folder, secret: (folder / "Dockerfile").symlink_to(
        secret / "id_rsa"
    ),
    "a pipe": lambda folder, secret: os.mkfifo(folder / "x"),
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("tries", LINKS)
def test_a_folder_that_leads_elsewhere_is_refused_before_anything_runs(checkout, executor, tries):
    folder = checkout.root / "attacks" / "odd"
    LINKS[tries](folder, checkout.root.parent / "secret")
    done = checkout.gauntlet("run", "b", "--executor", executor)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    (odd,) = (path for path in folder.rglob("*") if path.is_symlink() or path.is_fifo())
    assert line.startswith(f"attacks/odd/{odd.relative_to(folder)}: a ")
    assert "in a module's folder" in line
    assert "hunter2" not in done.stdout + done.stderr
    assert not list(checkout.root.glob(".gauntlet/records/*"))


TRICKS = {
    "another base, continued": ("FROM gauntlet-base\nFR\\\nOM debian\n", "2: a second FROM"),
    "an address of the host, continued": (
        "FROM gauntlet-base\nAD\\\nD http://127.0.0.1:80/x /opt/x\n",
        "2: ADD is not allowed",
    ),
    "files of another image, continued": (
        "FROM gauntlet-base\nCOPY \\\n--from=debian /etc /opt\n",
        "2: COPY with the option --from=debian",
    ),
    "a volume": ("FROM gauntlet-base\nVOLUME /opt/data\n", "2: VOLUME is not allowed"),
    "memory shared between builds": (
        "FROM gauntlet-base\nRUN --mount=type=cache,target=/c true\n",
        "2: RUN with the option --mount=type=cache,target=/c",
    ),
    "a variable of process 1": (
        "FROM gauntlet-base\nENV PYTHONSTARTUP=/opt/x.py\n",
        "2: ENV PYTHONSTARTUP is not allowed",
    ),
}


@pytest.mark.parametrize("command", ["check", pytest.param("run", marks=pytest.mark.engine)])
@pytest.mark.parametrize("tries", TRICKS)
def test_a_dockerfile_that_hides_an_instruction_is_refused(checkout, command, tries):
    text, said = TRICKS[tries]
    (checkout.root / "attacks" / "odd" / "Dockerfile").write_text(text)
    more = ["attacks/odd"] if command == "check" else ["b", "--executor", "docker"]
    done = checkout.gauntlet(command, *more)
    assert done.returncode == 1
    assert f"attacks/odd/Dockerfile:{said}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
