"""Documents name what exists: files, and in README's tree every package."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docker/README.md")
]
PLACES = "attacks|defenses|victims|benchmarks|harness|reports|requirements|docker|docs|ci|tests"
EXAMPLES = ("attacks/my_attack", "benchmarks/mine", "reports/site", "reports/records")
"""What a reader makes while following the page."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_document_names_exists(page):
    found = re.findall(rf"`((?:{PLACES})/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert found
    named = {path for path in found if not path.startswith(EXAMPLES)}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_tree_shows_every_package():
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## The tree")[1]
    shown = set(re.findall(r"^  (\w+)/ ", tree, re.M))
    folders = {
        path.name
        for path in (ROOT / "harness").iterdir()
        if path.is_dir() and not path.name.startswith("_")
    }
    assert shown == folders


def test_the_map_answers_eleven_questions():
    part = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## A map")[1]
    rows = re.findall(r"^\| (.+\?) \| (.+) \|$", part.split("\n## ")[0], re.M)
    assert len(rows) == 11
    assert [question for question, answer in rows if "`harness/" not in answer] == []
