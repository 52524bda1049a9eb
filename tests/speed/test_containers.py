"""A stage in a container beside a bare ``docker run`` of the same image that imports torch."""

from contextlib import closing

import pytest

from harness.executors.docker import DockerExecutor
from harness.executors.images import Images
from harness.executors.selfcheck.context import SelfCheckContext
from tests.support.containers import ours

ROUNDS = 5

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def images():
    with closing(Images.connect()) as engine:
        yield engine


def bare(images):
    """What ``docker run --rm --network none IMAGE python -c 'import torch'`` does."""
    made = images.client.containers.create(
        images.id_of(None), ["python", "-c", "import torch"], network_mode="none"
    )
    made.start()
    assert made.wait()["StatusCode"] == 0
    made.remove()


def stage(context):
    """A stage whose hook does nothing, from its order until its artefacts lie on the host."""
    context.run("endings.fine").expect("ok")


@pytest.mark.parametrize("what", ["bare docker run", "stage, new container", "stage, kept one"])
def test_a_stage_beyond_its_hook(benchmark, images, tmp_path, what):
    benchmark.group = "container: start, import torch, end"
    if what == "bare docker run":
        benchmark.pedantic(lambda: bare(images), rounds=ROUNDS, warmup_rounds=1)
        return
    reuse = what == "stage, kept one"
    with closing(
        SelfCheckContext(lambda: DockerExecutor(images, reuse=reuse), tmp_path)
    ) as context:
        benchmark.pedantic(lambda: stage(context), rounds=ROUNDS, warmup_rounds=1)
    assert ours() == []
