"""What ``docs/data.md`` shows is read: its manifest, and every layout of its table."""

import re

import pytest

from harness.common.keys import ROOT
from harness.config.dataset import load_dataset

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
MANIFEST = re.search(r"```yaml\n(schema: dataset/1.*?)```", TEXT, re.S)[1]
LAYOUTS = re.findall(r"^\| .+ \| `(\w+: \{.*\})` \|$", TEXT, re.M)


def load(tmp_path, text):
    (tmp_path / "my-digits.yaml").write_text(text)
    return load_dataset(tmp_path / "my-digits.yaml")


def test_the_manifest_is_one(tmp_path):
    assert load(tmp_path, MANIFEST).layouts[0].kind == "class_folders"


def test_the_table_was_found():
    assert len(LAYOUTS) == 9


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_one(tmp_path, layout):
    kind = layout.partition(":")[0]
    text = MANIFEST.replace("class_folders: {}", layout)
    if kind == "label_maps":
        text = text.replace("task: classification", "task: segmentation")
        text = text.replace("class_count: 10\n", "")
    assert load(tmp_path, text).layouts[0].kind == kind
