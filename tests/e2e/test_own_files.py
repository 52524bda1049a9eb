"""A benchmark that gives its modules files and folders: a run, its records, and it made again."""

import shutil
from contextlib import closing

import pytest

from harness.common.files import load_array
from harness.common.keys import ROOT
from harness.config.catalog import Module
from harness.config.manifest_file import load_manifest
from harness.conformance.checks import run_checks
from harness.executors.local import LocalExecutor
from harness.planning import own_files
from harness.running import host_stages
from harness.workspace import Workspace
from tests.support.module_sources import FLIP
from tests.support.own_files import BOOK, folder, named, reader, write_book
from tests.support.workspaces import POISONING, QUERY, Checkout, cell, matrix

ATTACK = """
import numpy as np


class Attack:
    def __init__(self, *, book):
        self.book = book

    def perturb(self, model, x, y, goal, budget, ctx):
        return (x + float(np.load(self.book)[0])).clamp(0, 1)
"""
"""An attack that adds the first number of its book, which must be no more than the budget."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A checkout that was run, with a file, a folder, its copy, and a file that is not there."""
    checkout = Checkout(tmp_path_factory.mktemp("own_files"))
    reader(checkout)
    here = folder(checkout)
    write_book(here / "big.npy", 100.0)
    write_book(here / "books" / "one.npy", 50.0)
    write_book(here / "books" / "deep" / "two.npy", 50.0)
    shutil.copytree(here / "books", here / "copy")
    rows = ("big.npy", "./books", "copy/", "gone.npy", "")
    checkout.benchmark(named(*rows, attacks=["noop", "sign"]))
    return checkout, checkout.run()


def record_of(checkout, label, attack="noop"):
    return checkout.records()[f"b/m/tiny/{label}/{attack}/linf-0.1/s0"]


def test_the_module_gets_the_content(ran):
    checkout, _ = ran
    plan = checkout.plan()
    answers = {}
    for label in ("none", "r0", "r1", "r2", "r4"):
        after = cell(plan, defense=label, attack="noop").stages["after"]
        path = next(checkout.workspace().store().path(after).glob("outputs/outputs.npy"))
        answers[label] = load_array(path)
    for label in ("r0", "r1", "r2"):
        assert (answers[label].argmax(1) == 0).all()
    assert (answers["r4"] == answers["none"]).all()
    assert not (answers["none"].argmax(1) == 0).all()


def test_records_name_a_file_by_name_and_digest(ran):
    checkout, _ = ran
    found = {n: record_of(checkout, f"r{n}").params["defense"]["book"] for n in range(5)}
    digest = own_files.content_digest(folder(checkout) / "big.npy")
    assert found[0] == f"big.npy sha256:{digest}"
    assert found[1].partition(" ")[0] == "books"
    assert found[1].partition(" ")[2] == found[2].partition(" ")[2]
    assert (found[3], found[4]) == ("gone.npy", "")
    for path in (checkout.home / "records").rglob("*.json"):
        assert str(checkout.root) not in path.read_text()


def test_what_is_not_there_is_missing_and_the_rest_runs(ran):
    checkout, _ = ran
    for attack in ("noop", "sign"):
        gone = record_of(checkout, "r3", attack)
        assert (gone.status, gone.by) == ("missing", "harness")
        assert gone.reason.startswith('"gone.npy", the parameter book of defense reader, is not')
        assert {record_of(checkout, f"r{n}", attack).status for n in (0, 1, 2, 4)} == {"ok"}


def test_the_report_shows_name_and_digest(ran):
    checkout, _ = ran
    done = checkout.gauntlet("report")
    assert done.returncode == 0, done.stderr
    site = checkout.root / "reports" / "site"
    pages = "".join(path.read_text() for path in site.rglob("*.html"))
    assert "big.npy sha256:" in pages
    assert str(checkout.root) not in pages


def test_a_number_is_made_again_and_a_changed_file_makes_it_stale(ran, tmp_path):
    old, _ = ran
    shutil.copytree(old.root, tmp_path / "copy")
    checkout = Checkout(tmp_path / "copy")
    reader(checkout)
    done = checkout.gauntlet("reproduce", "b/m/tiny/r1/sign/linf-0.1/s0")
    assert done.returncode == 0, done.stderr
    assert "reproduced exactly" in done.stdout
    write_book(folder(checkout) / "books" / "one.npy", 51.0)
    done = checkout.gauntlet("reproduce", "b/m/tiny/r1/sign/linf-0.1/s0")
    assert done.returncode != 0
    assert "stale: the parameters of the defense changed since" in done.stderr
    shutil.rmtree(folder(checkout) / "books")
    done = checkout.gauntlet("reproduce", "b/m/tiny/r1/sign/linf-0.1/s0")
    assert '"books", the parameter book of defense reader, is not where it is named' in done.stderr


def test_a_file_that_changes_after_the_plan_is_missing_and_then_runs(tmp_path, monkeypatch):
    checkout = Checkout(tmp_path / "checkout")
    reader(checkout)
    book = write_book(folder(checkout) / "book.npy")
    checkout.benchmark(named("book.npy"))
    with monkeypatch.context() as patched:

        def copied(*arguments):
            book.write_bytes(b"other")
            return copy(*arguments)

        copy = host_stages.HOST_STAGES["file"]
        patched.setitem(host_stages.HOST_STAGES, "file", copied)
        checkout.run()
    broken = record_of(checkout, "r0")
    assert broken.status in ("missing", "blocked")
    assert "book.npy: was changed or removed after it was planned" in broken.reason
    assert record_of(checkout, "none").status == "ok"
    write_book(book)
    checkout.run()
    assert record_of(checkout, "r0").status == "ok"
    assert checkout.leftovers() == []


@pytest.mark.parametrize("more", [{}, QUERY], ids=["evasion", "evasion-query"])
def test_attack_and_defence_take_a_file_each(tmp_path, more):
    checkout = Checkout(tmp_path / "checkout")
    reader(checkout)
    threats = ["evasion", "evasion-query"]
    checkout.module("attack", "bookish", ATTACK, threat_models=threats, params=BOOK)
    write_book(folder(checkout) / "small.npy", 0.05)
    write_book(folder(checkout) / "big.npy", 100.0)
    attack = {"name": "bookish", "params": {"book": "small.npy"}}
    checkout.benchmark(named("big.npy", **more | {"attacks": [attack]}))
    checkout.run()
    found = list(checkout.records().values())
    assert {record.status for record in found} == {"ok"}, [record.reason for record in found]
    assert len(found) == 2


def test_an_export_runs_again_what_takes_a_file(tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    flip = FLIP.replace("class Attack:\n", "class Attack:\n    def __init__(self, *, book): ...\n")
    checkout.module(
        "attack", "bookish", flip, params=BOOK, hooks=["poison"], threat_models=["poisoning"],
        tasks=["ranking"], requires=[],
    )  # fmt: skip
    write_book(folder(checkout) / "book.npy")
    attacks = [{"name": "bookish", "params": {"book": "book.npy"}}]
    data = {"student": "digits-ranking"}
    checkout.benchmark(matrix(**POISONING | {"attacks": attacks, "data": data}))
    checkout.run()
    (record,) = checkout.records().values()
    shutil.rmtree(checkout.home / "store")
    done = checkout.gauntlet("export", record.id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") > 100


def test_check_runs_a_variant_whose_file_is_in_the_module_s_folder(tmp_path):
    write_book(tmp_path / "defenses" / "reader" / "book.npy", 1000.0)
    place = reader(
        Checkout(tmp_path),
        threat_models=["evasion"],
        variants={"own": {"book": "book.npy"}},
        smoke={"variant": "own", "expect": {"clean_accuracy": {"max": 0.3}}},
    )
    module, workspace = Module(place, load_manifest(place)), Workspace(ROOT, tmp_path / "home")
    with closing(LocalExecutor()) as executor:
        found = list(run_checks(workspace, module, executor, workspace.store()))
    assert [f"{one.name}: {one.detail}" for one in found if not one.ok] == []
    assert any("own" in one.name for one in found)
