"""The written contracts: each key has a description, and the pages in ``docs`` are the code's."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.config.benchmark import benchmark_schema
from harness.config.dataset import dataset_schema
from harness.config.manifest import manifest_schema
from harness.config.threat import THREATS
from harness.report.cells import STATUSES

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("docs", ROOT / "ci" / "docs.py")
docs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docs)

SCHEMAS = {
    "manifest": manifest_schema(),
    "benchmark": benchmark_schema(),
    "dataset": dataset_schema(),
}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def properties(schema: object, at: str = "") -> Iterator[tuple[str, dict, dict]]:
    """Every property anywhere in a schema: where it stands, itself, and the object it is of."""
    if isinstance(schema, list):
        for one in schema:
            yield from properties(one, at)
    if not isinstance(schema, dict):
        return
    for name, one in schema.get("properties", {}).items():
        yield f"{at}.{name}".lstrip("."), one, schema
    for name, one in schema.items():
        inside = one.items() if name in ("properties", "$defs") else [("", one)]
        for key, inner in inside:
            yield from properties(inner, f"{at}.{key}" if key else at)


@pytest.mark.parametrize("form", SCHEMAS)
def test_every_key_has_a_description(form):
    found = list(properties(SCHEMAS[form]))
    assert len(found) > 50
    assert [at for at, one, _ in found if len(one.get("description", "")) < 15] == []
    texts = [(at, one["description"]) for at, one, _ in found]
    assert [at for at, text in texts if not re.fullmatch(r"[A-Z`](?s:.*)\.", text)] == []


@pytest.mark.parametrize("form", SCHEMAS)
def test_a_key_that_may_be_left_out_says_what_that_means(form):
    silent = [
        at
        for at, one, whole in properties(SCHEMAS[form])
        if at.rpartition(".")[2] not in whole.get("required", ())
        and not re.search(r"Default|Left out", one["description"])
        and "left out" not in whole.get("description", "")
    ]
    assert silent == []


def test_the_walk_sees_keys_at_every_depth():
    schema = {
        "properties": {"a": {"type": "string"}},
        "$defs": {"D": {"anyOf": [{"type": "string"}, {"properties": {"b": {}}}]}},
    }
    assert [at for at, _, _ in properties(schema)] == ["a", "D.b"]
    named = {at for at, _, _ in properties(SCHEMAS["benchmark"])}
    assert {"matrices", "Matrix.goal.targeted", "Matrix.knowledge.surrogate", "Entry.as"} <= named


def test_the_pages_are_what_the_code_says(capsys):
    assert docs.main(["--check"]) == 0, capsys.readouterr().out
    assert {path.name for path in docs.PAGES.iterdir()} == set(docs.MADE)


def test_a_page_that_differs_is_named_and_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(docs, "PAGES", tmp_path)
    assert docs.main(["--check"]) == 1
    assert "docs/reference/hooks.md: differs from the code; run `make docs`" in (
        capsys.readouterr().out
    )
    assert not list(tmp_path.iterdir())
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    (tmp_path / "manifest.md").write_text("edited by hand")
    assert docs.main(["--check"]) == 1


@pytest.mark.parametrize("name", docs.MADE)
def test_a_page_mentions_everything_of_its_kind(name):
    text = docs.MADE[name]()
    known = {
        "benchmark.md": [at.rpartition(".")[2] for at, _, _ in properties(SCHEMAS["benchmark"])],
        "dataset.md": [at.rpartition(".")[2] for at, _, _ in properties(SCHEMAS["dataset"])],
        "manifest.md": [at.rpartition(".")[2] for at, _, _ in properties(SCHEMAS["manifest"])],
        "hooks.md": [hook for hooks in docs.hooks.argument_names().values() for hook in hooks],
        "statuses.md": list(STATUSES),
        "threat_models.md": list(THREATS),
        "types.md": ["Data", "Edits", "Keep", "Budget", "Context", "Model", "Adversary", "Victim"],
    }[name]
    assert [word for word in known if word not in text] == []
    assert "None" not in re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as git hosts make them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


WORDS = """attack budget cell conformance contained control defense eval subset goal hook judge key
knowledge oracle receipt self-reported stage stale victim worst case"""


def test_the_glossary_has_the_words_in_order():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = re.findall(r"^\*\*(.+?)\*\*", text, re.M)
    assert words == sorted(words, key=str.lower)
    assert 25 <= len(words) <= 40
    joined = " ".join(words).lower()
    assert [word for word in WORDS.split() if word not in joined] == []
    assert "The module proposes, the judge decides" in text
