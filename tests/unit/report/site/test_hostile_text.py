"""Untrusted text on the site: escaping, file names, anchors, CSV."""

import csv
import io
import re
from urllib.parse import unquote

import numpy as np
import pytest

from harness.report.site import SiteMeta, build, exports, format
from harness.report.site.about import DataCard, Heading
from harness.report.site.samples import Samples
from tests.support import synthetic
from tests.support.site_pages import Page, html_of
from tests.support.synthetic import Suite

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "../../../etc/passwd",
    "..",
    "=cmd|'/c calc'!A1",
    "esc\x1b[31m\u202egnp\u2028",
    "A" * 300,
    "{{ 7 * 7 }}",
    "a b/ü%20",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_reasons_stay_text(text, tmp_path):
    suite = Suite(
        benchmark=text,
        matrix=text,
        victims=(text,),
        defenses={text: 0.5, "none": 0.0},
        attacks={text: 1.0, "noop": 0.0},
        budgets=((text, 0.1),),
        seeds=(0,),
        examples=20,
        gaps={("none", "noop"): ("module_error", text)},
        flags={(text, text): (text, text)},
    )
    words = Heading(text, f"{text}?", text, text, {"student": text})
    meta = SiteMeta(
        note=text,
        benchmarks={text: words},
        matrices={(text, text): words},
        cards={text: DataCard(text, text, text, 1, 2, (3,), "classification")},
        samples=lambda name: Samples(name, np.zeros((2, 1, 8, 8), dtype=np.uint8), text),
        summaries={f"{folder}/{text}": text for folder in ("attacks", "defenses", "victims")},
        families={f"attacks/{text}": text},
    )
    out = build(synthetic.frame(suite), tmp_path / "deep/site", meta).parent
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"site"}
    for path in html_of(out):
        assert out in path.resolve().parents
        page = Page(path)
        assert not page.refused
        assert page.scripts == 1
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e\u2028]", path.read_text())
        for link in page.links:
            if not link.startswith(("data:", "#")):
                address = unquote(link.partition("#")[0])
                assert out in (path.parent / address).resolve().parents
    for path in out.rglob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text())):
            assert not any(re.match(r"[=+@]|-[^\d]", field) for field in row)


def test_slugs_are_safe_and_never_shared():
    names = [*HOSTILE, "a", "A", "a/b", "a.b", "a-b", "a_b", "", "/", "A" * 301, "é", "e\u0301"]
    slugs = [format.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9._~-]{1,80}", slug) for slug in slugs)
    assert not {".", ".."} & {slug for name, slug in zip(names, slugs, strict=True) if name != "/"}


def test_anchors_are_readable_and_never_shared():
    labels = ["L∞ 8/255", "L∞ 8.255", "∞ 8/255", "L2 0.5", "%", "×"]
    found = [format.anchor(label, labels) for label in labels]
    assert len(set(found)) == len(labels)
    assert format.anchor("L∞ 8/255", ["L∞ 8/255", "L∞ 8:255"]) == "linf-8-255-0"


def test_csv_text_is_no_formula_and_numbers_stay_numbers():
    text = exports.table_csv([{"a": "=1+1", "b": -0.5, "c": None, "d": "@x", "e": True}])
    assert text == "a,b,c,d,e\n'=1+1,-0.5,,'@x,true\n"
