"""Parts of data that stages of modules are granted: inputs and labels, nothing beside them."""

import pytest

from harness.common.keys import ROOT
from harness.planning.stage_keys import HOST
from harness.workspace import Workspace

GRANTED = {"data": {"train", "val"}, "slice": {"x", "y"}, "goal": {"goal"}, "clean": {"clean"}}
"""Kind of a stage that stores parts of a data set → its parts that a module may be granted.

Boxes and groups are parts of ``data`` and ``slice`` (``host_stages.JUDGED``).
"""


@pytest.mark.parametrize(
    "name", [path.parent.name for path in ROOT.glob("benchmarks/*/benchmark.yaml")]
)
def test_no_module_is_granted_boxes_groups_or_a_whole_data_set(name, tmp_path):
    workspace = Workspace(ROOT, tmp_path)
    graph = workspace.plan(workspace.benchmark(name)).graph
    granted = [
        (stage.kind, input_name, source.kind, one.part)
        for stage in graph.stages.values()
        if stage.kind not in HOST
        for input_name, one in stage.inputs.items()
        if (source := graph.stages[one.key]).kind in GRANTED
    ]
    # "spec" is read by the harness, which hands on the description alone (jobs.make_job)
    wrong = [one for one in granted if one[1] != "spec" and one[3] not in GRANTED[one[2]]]
    assert not wrong
