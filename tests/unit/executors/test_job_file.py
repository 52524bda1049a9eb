"""``job.json``: its content stays what it is, and is read as it was written."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from harness.executors.base import StageJob
from harness.executors.local import on_gpu
from harness.runtime.worker.job_file import JobFile
from harness.runtime.worker.job_values import JobModule
from tests.support.jobs import SPEC, job_file, module_entry

MODULE = {
    "name": "attack",
    "folder": "/modules/attack",
    "entry": "attack.py:Some",
    "kind": "attack",
    "hooks": ["fit"],
    "params": {"a": 1},
    "needs": [],
}
CONTENT = {
    "stage": "learn",
    "spec": SPEC,
    "device": "cpu",
    "seed_root": [0, "learn", "some"],
    "deadline": 1.0,
    "modules": {"attack": MODULE},
    "inputs": {"train": "/data"},
    "options": {"threads": 1, "access": "none", "budget": {}},
    "checkpoint": "/checkpoint",
}


def test_the_content_of_job_json_is_pinned():
    assert json.dumps(job_file().to_json()) == json.dumps(CONTENT)


def test_optional_keys_are_there_only_where_they_have_a_value():
    adversary = module_entry("attack", budget={"norm": "linf"})
    content = job_file(modules={"adversary": adversary}, listener=3).to_json()
    assert content["listener"] == 3
    assert content["modules"] == {"adversary": MODULE | {"budget": {"norm": "linf"}}}


@pytest.mark.parametrize(
    "changes", [{}, {"listener": 3}, {"modules": {"attack": module_entry("attack", files=("a",))}}]
)
def test_a_job_is_read_as_it_was_written(changes):
    file = job_file(("victim", "defense"), **changes)
    assert JobFile.from_json(json.dumps(file.to_json())) == file


def test_a_file_is_in_the_input_that_its_value_names_or_in_the_module_s_folder():
    params = {"a": 1, "book": "sha256:12", "own": "data/x.npy", "none": ""}
    entry = module_entry("attack", params=params, files=("book", "own", "none"))
    module = JobModule.from_json(json.loads(json.dumps(entry.to_json())))
    assert module.arguments({"sha256:12": Path("/in/book")}) == {
        "a": 1,
        "book": Path("/in/book/content"),
        "own": Path("/modules/attack/data/x.npy"),
        "none": None,
    }


def test_a_job_is_frozen_and_more_inputs_make_another():
    file = job_file()
    more = file.with_inputs(socket="/socket")
    assert more.inputs == {"train": "/data", "socket": "/socket"}
    assert file.inputs == {"train": "/data"}
    with pytest.raises(FrozenInstanceError):
        file.device = "cuda"


def test_a_reserved_gpu_is_the_device_of_a_stage_and_its_oracle(tmp_path):
    service = StageJob("b", tmp_path, job_file(), 1.0, 1.0, gpu="1")
    job = on_gpu(StageJob("a", tmp_path, job_file(), 1.0, 1.0, service=service, gpu="1"))
    assert job.file.device == job.service.file.device == "cuda:1"
    assert service.file.device == "cpu"
