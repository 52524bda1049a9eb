"""GPUs: each runs one stage at a time, is tried before use, and is given back whatever ends."""

from pathlib import Path

import pytest

from harness.commands.run import parse_gpus
from harness.executors.base import Result
from harness.executors.gpu_probe import probe_gpus
from harness.running.gpus import GpuPool
from tests.support.errors import raises_error
from tests.support.workspaces import Checkout, matrix


class Fake:
    """Ends every stage at once, and notes which GPUs were in use together."""

    name, contained = "local", False

    def __init__(self, bad=()):
        self.bad, self.running, self.most, self.tried = bad, [], 0, []

    def start(self, job):
        assert job.gpu not in [one.gpu for one in self.running], "one GPU, two stages"
        self.tried.append((job.file.stage, job.gpu))
        self.running.append(job)
        self.most = max(self.most, len(self.running))

    def wait(self, timeout):
        job = self.running.pop(0)
        status = "module_error" if job.gpu in self.bad else "ok"
        return [(job, Result(status, "no such device" if status != "ok" else "", 0.1))]

    def leaked_processes(self):
        return []

    def close(self):
        self.running.clear()


def test_on_the_cpu_there_is_no_limit():
    pool = GpuPool()
    assert [pool.acquire(key) for key in "abc"] == [None] * 3
    assert pool.any_free


def test_every_gpu_is_tried_before_use():
    fake = Fake()
    assert probe_gpus(fake, ["0", "3"], Path("/nowhere")) == ["0", "3"]
    assert fake.tried == [("device", "0"), ("device", "3")]


def test_one_that_cannot_be_used_is_named():
    with raises_error("gpu-unusable", where="--device cuda"):
        probe_gpus(Fake(bad=["3"]), ["0", "3"], Path("/nowhere"))


@pytest.mark.parametrize("text", ["", "0,0", "a", "0;1", "-1"])
def test_numbers_that_are_none(text):
    with raises_error("gpus-not-numbers", where="--gpus", text=text):
        parse_gpus(text)


@pytest.mark.parametrize("gpus", [["0"], ["0", "1"]])
def test_a_run_uses_each_gpu_for_one_stage_at_a_time(tmp_path, gpus, monkeypatch):
    checkout = Checkout(tmp_path)
    checkout.benchmark(matrix(seeds=[0, 1, 2]))
    fake = Fake()
    monkeypatch.setattr("harness.commands.run.make_executor", lambda name, fresh: fake)
    monkeypatch.setattr("harness.running.scheduler.check_output", lambda job: "nothing was run")
    checkout.run(device="cuda", gpus=",".join(gpus), jobs=8, executor="local")
    stages = [gpu for stage, gpu in fake.tried if stage != "device"]
    assert len(stages) == 3
    assert set(stages) == set(gpus)
    assert fake.most == len(gpus)


@pytest.mark.slow
def test_a_stage_that_failed_gives_its_gpu_back(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(GpuPool, "release", lambda self, key: given.append(key))
    monkeypatch.setattr(GpuPool, "acquire", lambda self, key: None)
    checkout = Checkout(tmp_path)
    checkout.module("victim", "broken", "raise RuntimeError", hooks=["build", "recipe"])
    checkout.benchmark(matrix(victims=["broken"]))
    checkout.run()
    assert len(given) == 1
