"""What a service leaves is checked before it moves into the attack's artefact."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.common.files import save_array
from harness.executors.base import Result, StageJob
from harness.running.output_check import SERVED, check_output
from harness.running.service_output import accept_service, rows_digest
from tests.support.jobs import job_file

FINE = Result("ok", "", 1.0)
X = np.arange(28, dtype=np.float32).reshape(7, 1, 2, 2) / 28


def digests(x, sizes=(3, 3, 1)):
    """The list that a service leaves of inputs that it was shown in batches."""
    ends = np.cumsum(sizes).tolist()
    return [
        [end - size, size, rows_digest(x[end - size : end])]
        for size, end in zip(sizes, ends, strict=True)
    ]


@pytest.fixture
def job(tmp_path):
    save_array(tmp_path / "in" / "x.npy", np.zeros((7, 1, 2, 2), np.uint8))
    options = {"threads": 1, "access": "oracle", "budget": {}}
    file = job_file(stage="attack", inputs={"slice_x": str(tmp_path / "in")}, options=options)
    network = replace(file, stage="any", modules=job_file(roles=("victim", "defense")).modules)
    service = StageJob("s", tmp_path / "job" / "s", network, 1.0, 1.0)
    made = StageJob("k", tmp_path / "job", file, 1.0, 1.0, service)
    save_array(made.folder / "out" / "attacked" / "x.npy", X)
    left = service.folder / "out"
    save_array(left / "oracle" / "counts.npy", np.ones(7, np.int64))
    save_array(left / "shown" / "outputs.npy", np.zeros((7, 3), np.float32))
    save_array(left / "goal" / "goal.npy", np.zeros(7, np.int64))
    (left / "shown" / "digests.json").write_text(json.dumps(digests(X)))
    return made


def left(job):
    return job.service.folder / "out"


def end(job):
    assert check_output(job) is None
    return accept_service(job, FINE)


def test_parts_of_the_service_become_parts_of_the_artefact(job):
    (left(job) / "curves").mkdir()
    assert end(job) == FINE
    out = job.folder / "out"
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["attacked/x.npy", "goal/goal.npy", "oracle/counts.npy", "shown/outputs.npy"]


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_an_attack_may_leave_none_of_them(job, name, kind):
    path = job.folder / "out" / name
    {"folder": path.mkdir, "file": path.touch, "link": lambda: path.symlink_to("/tmp")}[kind]()
    assert check_output(job) == f"the output holds {name}, a name that is the harness's"


def show(job, content):
    (left(job) / "shown" / "digests.json").write_text(json.dumps(content))


OTHER = np.where(np.arange(7).reshape(7, 1, 1, 1) == 5, np.nextafter(X, 1, dtype=X.dtype), X)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (digests(OTHER), "other inputs than it showed the network (from row 3)"),
        (digests(X)[:2], "showed the network 6 of the 7 inputs"),
        (digests(X)[1:], "from row 0"),
        ([digests(X)[0], digests(X)[2]], "from row 3"),
        ([*digests(X), digests(X)[2]], "from row 7"),
        ([], "showed the network 0 of the 7"),
        ([[0, 9, digests(X)[0][2]]], "from row 0"),
        ([[0, 7, ""]], "from row 0"),
    ],
)
def test_an_attack_must_return_what_it_showed(job, content, text):
    show(job, content)
    result = end(job)
    assert (result.status, result.by) == ("contract_violation", "attack")
    assert text in result.reason
    assert not (job.folder / "out" / "shown").exists()


def test_an_attack_that_leaves_out_a_batch_is_not_the_networks_fault(job):
    """Then answers and goals are too short, too, as if the network had spoilt them."""
    show(job, digests(X)[:2])
    save_array(left(job) / "shown" / "outputs.npy", np.zeros((6, 3), np.float32))
    save_array(left(job) / "goal" / "goal.npy", np.zeros(6, np.int64))
    result = end(job)
    assert (result.status, result.by) == ("contract_violation", "attack")
    assert "showed the network 6 of the 7 inputs" in result.reason


def test_batches_may_come_in_any_order(job):
    show(job, digests(X)[::-1])
    assert end(job) == FINE


@pytest.mark.parametrize("access", ["victim", "oracle"])
def test_a_white_box_attack_must_show_what_it_returns(job, access):
    """With a forged end it would show nothing, and no answer could be compared."""
    (left(job) / "shown" / "digests.json").unlink()
    options = {**job.file.options, "access": access}
    result = end(replace(job, file=replace(job.file, options=options)))
    if access == "oracle":
        assert result == FINE
        return
    assert (result.status, result.by) == ("contract_violation", "attack")
    assert "showed the network 0 of the 7" in result.reason


SPOILT = {
    "no-counts": lambda folder: (folder / "oracle" / "counts.npy").unlink(),
    "counts-of-others": lambda f: save_array(f / "oracle" / "counts.npy", np.ones(8, np.int64)),
    "counts-of-a-type": lambda f: save_array(f / "oracle" / "counts.npy", np.ones(7, np.int32)),
    "pickle": lambda f: np.save(f / "shown" / "outputs.npy", np.array([{}]), allow_pickle=True),
    "shown-shape": lambda f: save_array(f / "shown" / "outputs.npy", np.zeros((7, 4), np.float32)),
    "goal-shape": lambda f: save_array(f / "goal" / "goal.npy", np.zeros((7, 1), np.int64)),
    "digest-form": lambda f: (f / "shown" / "digests.json").write_text("[[0, 7]]"),
    "digest-type": lambda f: (f / "shown" / "digests.json").write_text('{"a": 1}'),
    "digest-number": lambda f: (f / "shown" / "digests.json").write_text("7"),
    "digest-nested": lambda f: (f / "shown" / "digests.json").write_text("[" * 10**5),
    "digest-folder": lambda f: ((f / "shown" / "digests.json").unlink(),
                                (f / "shown" / "digests.json").mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_files_of_a_service_are_its_network_s(job, name):
    SPOILT[name](left(job))
    result = end(job)
    assert (result.status, result.by) == ("contract_violation", "defense")
    assert "in the network: its output cannot be used" in result.reason
    assert result.reason.isprintable()


def test_a_stage_that_only_learns_shows_nothing(job):
    learning = replace(job, file=replace(job.file, stage="learn"))
    (job.folder / "out" / "state").mkdir()
    (left(job) / "shown" / "digests.json").unlink()
    assert end(learning) == FINE
