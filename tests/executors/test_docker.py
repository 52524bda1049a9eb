"""The docker executor beyond the self-check: what it takes from containers, when it keeps them."""

import io
import json
import os
from collections import deque
from contextlib import closing

import numpy as np
import pytest

from harness.common.files import load_array
from harness.executors import docker as module
from harness.executors.base import StageJob
from harness.executors.container import Ended, parse_end
from harness.executors.docker import LABEL, OWNER, DockerExecutor
from harness.executors.images import Images
from harness.executors.outcome import ProcessEnd
from harness.executors.owners import is_dead, owner
from harness.executors.receive import ChannelBroken, Receiver, relative_name
from harness.executors.selfcheck.context import SelfCheckContext
from tests.support.containers import ours
from tests.support.jobs import job_file
from tests.support.module_sources import PERTURB
from tests.support.own_files import BOOK, folder, named, reader, write_book
from tests.support.workspaces import QUERY, Checkout, matrix


@pytest.fixture
def images():
    with closing(Images.connect()) as engine:
        yield engine


@pytest.fixture
def job(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    return StageJob("key", tmp_path / "job", job_file(checkpoint=str(kept)), 1.0, 1.0)


def take(receiver, event, body=b""):
    """What the harness does with one event of a container."""
    header = event | ({"size": len(body)} if body else {})
    receiver.receive(json.loads(json.dumps(header)), io.BytesIO(body))


# -- what comes over the channel ------------------------------------------------------------------


def test_files_folders_log_and_checkpoint_arrive(job, tmp_path):
    with closing(Receiver(job, 1000)) as receiver:
        take(receiver, {"log": True}, b"said\n")
        take(receiver, {"folder": "out/empty"})
        take(receiver, {"file": "out/a\nb"}, b"1")
        take(receiver, {"checkpoint": "one"}, b"old")
        take(receiver, {"checkpoint": "two"}, b"2")
        assert os.listdir(tmp_path / "kept") == []  # not before it is whole
        take(receiver, {"kept": ["one", "two"]})
        take(receiver, {"checkpoint": "one"}, b"new")
        take(receiver, {"kept": ["one"]})
    assert (job.folder / "log.txt").read_bytes() == b"said\n"
    assert (job.folder / "out" / "a\nb").read_bytes() == b"1"
    assert (job.folder / "out" / "empty").is_dir()
    assert {p.name: p.read_bytes() for p in (tmp_path / "kept").iterdir()} == {"one": b"new"}
    assert sorted(os.listdir(job.folder)) == ["log.txt", "out"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", 7])
def test_a_checkpoint_that_leads_elsewhere_ends_the_channel(job, name):
    with (
        closing(Receiver(job, 1000)) as receiver,
        pytest.raises(ChannelBroken, match="names a file"),
    ):
        take(receiver, {"checkpoint": name}, b"x")


@pytest.mark.parametrize(
    "name",
    [
        "oracle/out/counts.npy",
        "job.json",
        "outcome.json",
        "log.txt",
        "../x",
        "/etc/x",
        "a/../../x",
        "",
        ".",
        "a\0b",
        7,
        None,
        ["a"],
        "out/../../x",
    ],
)
def test_a_name_that_leads_elsewhere_ends_the_channel(job, tmp_path, name):
    with closing(Receiver(job, 1000)) as receiver:
        for kind in ("file", "folder"):
            with pytest.raises(ChannelBroken, match="names a file"):
                take(receiver, {kind: name}, b"x")
    assert sorted(os.listdir(tmp_path)) == ["job", "kept"]


def test_more_than_a_stage_may_leave_ends_the_channel(job):
    with closing(Receiver(job, 1000)) as receiver, pytest.raises(ChannelBroken, match="more than"):
        take(receiver, {"file": "out/x"}, b"x" * 2001)
    with closing(Receiver(job, 1000)) as receiver, pytest.raises(ChannelBroken, match="more than"):
        deque((take(receiver, {"file": f"out/{n % 5}"}) for n in range(10**6)), maxlen=0)


def test_a_channel_that_breaks_in_a_file_is_reported(job):
    with (
        closing(Receiver(job, 1000)) as receiver,
        pytest.raises(ChannelBroken, match="middle of a file"),
    ):
        receiver.receive({"file": "out/x", "size": 10}, io.BytesIO(b"short"))


@pytest.mark.parametrize("size", [-1, "1", 1.5, None, True])
def test_a_size_that_is_none_ends_the_channel(job, size):
    with (
        closing(Receiver(job, 1000)) as receiver,
        pytest.raises(ChannelBroken, match="bytes follow"),
    ):
        receiver.receive({"file": "out/x", "size": size}, io.BytesIO(b"x"))


@pytest.mark.parametrize(
    "changed",
    [
        {"ended": [0]},
        {"ended": ["0", 0]},
        {"outcome": 5},
        {"stopped": ["a"]},
        {"refused": None},
        {"peak": "1"},
    ],
)
def test_an_end_of_another_form_ends_the_channel(changed):
    event = {"ended": [1, 0], "stopped": ["timeout", "why"], "refused": "", "peak": 5}
    event["outcome"] = "?"
    end = ProcessEnd(1, 0, "?")
    assert parse_end(event) == Ended(end, ("timeout", "why"), "", 5, clean=False)
    with pytest.raises(ChannelBroken, match="how its stage ended"):
        parse_end(event | changed)


def test_relative_names_stay():
    assert relative_name("out/a b/ü") == "out/a b/ü"


# -- whose containers are removed -----------------------------------------------------------------


def test_a_harness_is_told_from_one_of_the_same_number():
    assert not is_dead(owner())
    space, pid, when = (
        owner().rpartition(" ")[0].rpartition(" ")[0],
        os.getpid(),
        owner().split()[-1],
    )
    assert is_dead(f"{space} {pid} {int(when) + 1}")
    assert is_dead(f"{space} {2**22 + 1} 5")
    assert not is_dead(f"pid:[1] {pid} 5"), "another PID namespace cannot be seen from here"


@pytest.mark.engine
def test_the_next_start_removes_what_a_dead_harness_left(images):
    space = owner().rpartition(" ")[0].rpartition(" ")[0]
    left, alive = (
        images.client.containers.create(
            images.id_of(None), ["true"], labels={LABEL: "test", OWNER: name}
        )
        for name in (f"{space} {2**22 + 1} 5", owner())
    )
    try:
        with closing(DockerExecutor(images)):
            assert [one.id for one in ours()] == [alive.id]
    finally:
        alive.remove(force=True)
    assert left.id not in [one.id for one in ours()]


# -- when a container is kept ----------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    """The containers that an executor makes."""
    found = []

    def counted(*given):
        found.append(module_container(*given))
        return found[-1]

    module_container = module.Container
    monkeypatch.setattr(module, "Container", counted)
    return found


@pytest.mark.engine
def test_a_container_serves_its_kind_until_a_stage_ends_badly(tmp_path, made, images):
    with closing(SelfCheckContext(lambda: DockerExecutor(images), tmp_path)) as context:
        for _ in range(3):
            context.run("endings.fine").expect("ok")
        context.run("endings.raises").expect("module_error")
        context.report("surroundings.notes")
        assert len(made) == 1
        context.run("endings.fine", memory_gb=2.0).expect("ok")
        assert len(made) == 2, "a container has the limits of its stages"
        for probe, settings in (
            ("endings.dies", {"number": 9}),
            ("endings.leaves_at_once", {"code": 0}),
            ("artefacts.strange", {"kind": "fifo", "target": ""}),
            ("limits.sleeps", {"asleep": 60, "seconds": 1.0}),
        ):
            before = len(made)
            context.run(probe, **settings)
            context.run("endings.fine").expect("ok")
            assert len(made) - before == (0 if probe == "endings.leaves_at_once" else 1), probe
    assert ours() == []


@pytest.mark.engine
def test_fresh_makes_one_for_every_stage(tmp_path, made, images):
    with closing(
        SelfCheckContext(lambda: DockerExecutor(images, reuse=False), tmp_path)
    ) as context:
        for _ in range(2):
            context.run("endings.fine").expect("ok")
        assert len(made) == 2
        assert len(ours()) == 0


@pytest.mark.engine
def test_no_more_than_so_many_wait_idle(tmp_path, made, images, monkeypatch):
    monkeypatch.setattr(module, "IDLE", 2)
    with closing(SelfCheckContext(lambda: DockerExecutor(images), tmp_path)) as context:
        for size in (1.0, 1.5, 2.0, 2.5):
            context.run("endings.fine", memory_gb=size).expect("ok")
        assert len(ours()) <= 2
    assert ours() == []


# -- the service ----------------------------------------------------------------------------------

COPY = PERTURB.format(
    """import numpy as np
        path = ctx.state.parent / "answers" / f"{len(list(ctx.scratch.iterdir()))}.npy"
        path.parent.mkdir(exist_ok=True)
        (ctx.scratch / path.name).touch()
        np.save(path, model.predict(x).numpy())
        return x"""
)


ONE_FILE = """
from pathlib import Path

import numpy as np


class Attack:
    def __init__(self, *, book):
        self.book = book

    def perturb(self, model, x, y, goal, budget, ctx):
        assert [path.name for path in Path("/").glob("*/in/sha256:*")] == [self.book.parent.name]
        try:
            self.book.chmod(0o666)
        except OSError:
            return (x + float(np.load(self.book)[0])).clamp(0, 1)
        raise AssertionError("the file may be changed")
"""
"""An attack that reads its file, cannot change it, and sees no other module's."""


@pytest.mark.engine
def test_a_file_of_the_benchmark_is_read_only_and_in_its_module_s_container_alone(tmp_path):
    checkout = Checkout(tmp_path)
    reader(checkout)
    checkout.module("attack", "bookish", ONE_FILE, params=BOOK)
    write_book(folder(checkout) / "small.npy", 0.05)
    write_book(folder(checkout) / "books" / "deep" / "big.npy", 100.0)
    attack = {"name": "bookish", "params": {"book": "small.npy"}}
    checkout.benchmark(named("books", attacks=[attack]))
    checkout.run(executor="docker")
    store = checkout.workspace().store()
    for record in checkout.records().values():
        assert record.status == "ok", record.reason
        outputs = load_array(store.path(record.stages["after"]) / "outputs" / "outputs.npy")
        assert (outputs.argmax(1) == 0).all() == (record.cell.defense == "r0")


@pytest.mark.parametrize("executor", ["local", pytest.param("docker", marks=pytest.mark.engine)])
def test_the_oracle_answers_what_predict_answers(tmp_path, executor):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "copy", COPY, threat_models=["evasion-query"])
    checkout.benchmark(matrix(**QUERY | {"attacks": ["copy"]}, defenses=["none", "guard"]))
    checkout.run(executor=executor)
    store = checkout.workspace().store()
    for record in checkout.records().values():
        assert record.status == "ok", record.reason
        answers = store.path(record.stages["attack"]) / "answers"
        asked = np.concatenate([load_array(answers / f"{n}.npy") for n in range(2)])
        predicted = load_array(store.path(record.stages["before"]) / "outputs" / "outputs.npy")
        assert np.array_equal(asked, predicted)
        assert record.queries
