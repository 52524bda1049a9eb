"""A module's folder holds plain files: links and the like are refused by name, everywhere."""

import os
import socket

import pytest

from harness.config.catalog import Catalog
from harness.config.identity import module_digest
from harness.config.manifest_file import load_manifest
from harness.config.module_files import irregular_files, module_files
from tests.support.errors import raises_error
from tests.support.folders import deep_folder
from tests.support.workspaces import Checkout, matrix

LINK = "a link in a module's folder; copy what it names to this place, or remove it"


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path / "root")
    (tmp_path / "secret.txt").write_text("hunter2: [")
    (tmp_path / "outside").mkdir()
    made.benchmark(matrix())
    return made


@pytest.fixture
def folder(checkout):
    return checkout.root / "attacks" / "noop"


def put(kind, path):
    """Something that is no plain file."""
    path.parent.mkdir(exist_ok=True)
    outside = path.parents[[one.name for one in path.parents].index("root")].parent
    match kind:
        case "file":
            path.symlink_to(outside / "secret.txt")
        case "folder":
            path.symlink_to(outside / "outside")
        case "inside":
            path.symlink_to("attack.py")
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path.name)
        case "pipe":
            os.mkfifo(path)
        case "socket":
            here = os.open(path.parent, os.O_RDONLY)  # the path itself may be too long
            try:
                with socket.socket(socket.AF_UNIX) as door:
                    door.bind(f"/proc/self/fd/{here}/{path.name}")
            finally:
                os.close(here)


@pytest.mark.parametrize("kind", ["file", "folder", "inside", "dangling", "loop"])
@pytest.mark.parametrize("name", ["x.txt", "sub/x.txt", "README.md", "requirements.txt", "x"])
def test_a_link_is_refused_by_name(checkout, folder, kind, name):
    manifest = load_manifest(folder)
    put(kind, folder / name)
    for use in (
        lambda: module_files(folder),
        lambda: module_digest(folder, manifest),
        lambda: load_manifest(folder),
        lambda: Catalog.load(checkout.root),
        checkout.plan,
    ):
        with raises_error("link-in-module", where=f"attacks/noop/{name}"):
            use()


@pytest.mark.parametrize(
    ("kind", "said"), [("pipe", "a named pipe"), ("socket", "a socket"), ("file", "a link")]
)
def test_what_has_no_content_of_its_own_is_refused(folder, kind, said):
    put(kind, folder / "x")
    (error,) = irregular_files(folder)
    assert str(error).startswith(f"attacks/noop/x: {said} in a module's folder; ")


def test_what_cannot_be_read_is_refused(folder, monkeypatch):
    """Root may read everything, so the system's answers are replaced."""
    (folder / "closed").mkdir()
    (folder / "x.txt").touch()
    scan = os.scandir

    def scandir(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "access", lambda path, mode: os.path.basename(path) != "x.txt")
    assert [error.where for error in irregular_files(folder)] == [
        "attacks/noop/closed",
        "attacks/noop/x.txt",
    ]


def test_a_manifest_that_is_a_link_is_not_read(folder):
    (folder / "manifest.yaml").unlink()
    put("file", folder / "manifest.yaml")
    with raises_error("link-as-manifest", where="attacks/noop/manifest.yaml"):
        load_manifest(folder)


@pytest.mark.slow
def test_links_and_mistakes_of_all_modules_are_told_together(checkout, folder):
    put("file", folder / "x.txt")
    put("pipe", checkout.root / "victims" / "tiny" / "y")
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace('"MIT"', "3"))
    done = checkout.gauntlet("check")
    assert done.returncode == 1
    assert [line.split(": ")[0].split(":")[0] for line in done.stderr.splitlines()] == [
        "attacks/noop/x.txt",
        "attacks/noop/manifest.yaml",
        "victims/tiny/y",
    ]
    done = checkout.gauntlet("check", "attacks/noop")
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_links_in_caches_and_editors_locks_do_not_count(folder):
    manifest = load_manifest(folder)
    before = module_digest(folder, manifest)
    put("file", folder / "__pycache__" / "x.pyc")
    (folder / ".#attack.py").symlink_to("me@machine.1234:567")
    (folder / "sub").mkdir()
    (folder / "sub" / "__pycache__").symlink_to("..")
    assert irregular_files(folder) == []
    assert module_digest(folder, manifest) == before


def test_a_folder_that_is_a_link_is_the_folder_that_it_names(folder, tmp_path):
    manifest = load_manifest(folder)
    (tmp_path / "other").mkdir()
    linked = tmp_path / "other" / "noop"
    linked.symlink_to(folder)
    assert module_digest(linked, manifest) == module_digest(folder, manifest)
    put("file", folder / "x.txt")
    assert [error.where for error in irregular_files(linked)] == ["other/noop/x.txt"]


@pytest.mark.slow
def test_a_folder_deeper_than_pythons_stack_is_walked(folder):
    with deep_folder(folder / "d", levels=1100):
        assert irregular_files(folder) == []
