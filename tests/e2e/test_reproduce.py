"""A number made again in a fresh clone, from nothing but its page or its record's file."""

import shutil
import subprocess

import pytest

from harness.results import record_tree, records
from tests.support.module_sources import SIGN
from tests.support.workspaces import Checkout, matrix

pytestmark = pytest.mark.xdist_group("run")

CELL = "b/m/tiny/none/sign/linf-0.1/s0"
PAGE = "b/m/tiny/none/sign.html#linf-0.1-s0"


def git(folder, *arguments):
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", "-C", str(folder), *names, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A repository whose benchmark was run, with its site beside."""
    checkout = Checkout(tmp_path_factory.mktemp("origin"))
    checkout.benchmark(matrix(attacks=["noop", "sign"], ensembles={"both": ["noop", "sign"]}))
    (checkout.root / ".gitignore").write_text(".gauntlet\nreports/site\n")
    git(checkout.root, "init", "-q")
    git(checkout.root, "add", "-A")
    git(checkout.root, "commit", "-qm", "first")
    checkout.run()
    assert checkout.gauntlet("report").returncode == 0
    return checkout


@pytest.fixture
def clone(origin, tmp_path):
    """A fresh clone, whose home is empty."""
    git(tmp_path, "clone", "-q", str(origin.root), "clone")
    checkout = Checkout(tmp_path / "clone")
    assert not checkout.home.exists()
    return checkout


def place(origin, what):
    (file,) = [p for p in record_tree.walk(origin.home / "records") if records.read(p).id == CELL]
    page = origin.root / "reports/site" / PAGE
    return {"page": str(page), "address": f"file://{page}", "file": str(file)}[what]


@pytest.mark.parametrize("what", ["page", "address", "file"])
def test_a_number_is_made_again_in_a_fresh_clone(origin, clone, what):
    done = clone.gauntlet("reproduce", place(origin, what))
    assert done.returncode == 0, done.stderr
    result = origin.records()[CELL].result[:16]
    assert f"{CELL}: reproduced exactly (result {result})" in done.stdout
    assert "1 record, expected to take about " in done.stdout
    assert not (clone.home / "records").exists()


def test_a_page_s_records_are_made_again_together_and_an_ensemble_too(origin, clone):
    page = origin.root / "reports/site/b/m/tiny/none/both.html"
    done = clone.gauntlet("reproduce", str(page))
    assert done.returncode == 0, done.stderr
    assert "b/m/tiny/none/both/linf-0.1/s0: reproduced exactly" in done.stdout
    assert "expected to take an unknown time" in done.stdout


def test_at_another_commit_with_the_same_code_it_says_so_and_goes_on(origin, clone):
    (clone.root / "README.md").write_text("news")
    git(clone.root, "add", "-A")
    git(clone.root, "commit", "-qm", "second")
    done = clone.gauntlet("reproduce", place(origin, "page"))
    assert done.returncode == 0, done.stderr
    commit = git(origin.root, "rev-parse", "HEAD")
    assert f"{CELL}: made at commit {commit[:12]}, this checkout is at " in done.stdout
    assert f"git checkout {commit}" in done.stdout


def test_at_another_commit_with_other_code_it_names_the_commit(origin, clone):
    (clone.root / "attacks/sign/attack.py").write_text(SIGN + "# once more\n")
    git(clone.root, "commit", "-qam", "second")
    done = clone.gauntlet("reproduce", place(origin, "page"))
    commit = git(origin.root, "rev-parse", "HEAD")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{CELL}: stale: attacks/sign changed since; git checkout {commit}"
    )
    git(clone.root, "checkout", "-q", commit)
    assert clone.gauntlet("reproduce", place(origin, "page")).returncode == 0


def of_another_environment(origin, clone, **environment):
    """A record whose key is not today's: other versions of Python or torch are installed here."""
    record = origin.records()[CELL]
    other = record.environment.model_copy(update=environment)
    fields = record.model_copy(update={"key": "0" * 64, "environment": other}).to_json()
    for name in ("schema", "result", "outcome"):
        del fields[name]
    stages = dict.fromkeys(fields["stages"], "0" * 64) | {"slice": record.stages["slice"]}
    return records.write(clone.root / "there", records.finish(fields | {"stages": stages}))


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("attacks/sign/attack.py", SIGN + "# once more\n", "attacks/sign"),
        ("harness/new.py", "", "the harness or its environment"),
    ],
)
def test_changed_files_are_not_the_record_s_own_commit(origin, clone, file, content, what):
    path = of_another_environment(origin, clone, torch="0.1")
    (clone.root / file).parent.mkdir(exist_ok=True)
    (clone.root / file).write_text(content)
    done = clone.gauntlet("reproduce", str(path))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{CELL}: stale: {what} changed since; put this checkout's changes away (git stash -u)"
    )


def test_changed_files_of_a_member_are_not_an_ensemble_s_own_commit(origin, clone):
    (clone.root / "attacks/sign/attack.py").write_text(SIGN + "# once more\n")
    page = origin.root / "reports/site/b/m/tiny/none/both.html"
    done = clone.gauntlet("reproduce", str(page))
    assert done.returncode == 1
    assert "put this checkout's changes away (git stash -u)" in done.stderr


@pytest.mark.parametrize(
    ("environment", "options"),
    [({"torch": "0.1"}, ()), ({"executor": "docker"}, ("--executor", "local"))],
)
def test_a_record_of_another_environment_is_tried_at_its_own_commit(
    origin, clone, environment, options
):
    record, path = origin.records()[CELL], of_another_environment(origin, clone, **environment)
    done = clone.gauntlet("reproduce", str(path), *options)
    assert done.returncode == 0, done.stderr
    assert "the harness or its environment changed since, at its own commit" in done.stdout
    outcome = record.outcome[:16]
    assert f"{CELL}: reproduced exactly, in another environment (outcome {outcome})" in done.stdout


def test_a_page_of_another_repository_is_one_line(origin, tmp_path):
    stranger = Checkout(tmp_path)
    stranger.benchmark(matrix(attacks=["noop"]))
    git(stranger.root, "init", "-q")
    git(stranger.root, "add", "-A")
    git(stranger.root, "commit", "-qm", "first")
    done = stranger.gauntlet("reproduce", place(origin, "page"))
    commit = git(origin.root, "rev-parse", "HEAD")
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{CELL}: not planned: the benchmark no longer plans this cell; it was made at commit "
        f"{commit}, which this repository does not hold; git fetch and check it out, or clone the "
        "repository that the page is of"
    )


def test_digests_name_records_where_they_lie(origin):
    record = origin.records()[CELL]
    for digest in (record.result, record.outcome[:12]):
        shown = origin.gauntlet("show", digest)
        assert shown.stdout.splitlines()[0] == CELL, shown.stderr
    done = origin.gauntlet("reproduce", record.result[:8])
    assert f"{CELL}: reproduced exactly" in done.stdout, done.stderr


def test_a_cell_that_was_made_twice_says_so_everywhere(origin, tmp_path):
    """The second record is made in another store of the same machine, and lies beside the first."""
    shutil.copytree(origin.root, tmp_path / "copy")
    copy = Checkout(tmp_path / "copy")
    shutil.rmtree(copy.home)
    copy.run()
    for path in record_tree.walk(origin.home / "records"):
        records.write(copy.home / "records", records.read(path))
    shown = copy.gauntlet("show", CELL).stdout
    assert "made twice, both times outside: equal" in shown
    assert copy.gauntlet("report").returncode == 0
    page = (copy.root / "reports/site/b/m/tiny/none/sign.html").read_text()
    assert "Made twice, both times outside: equal." in page
    assert "replications differ" not in page
