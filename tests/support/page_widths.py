"""Measure in a browser which pages of a site are wider than the window.

    tests/support/page_widths.py reports/site          # every page at 1280 and 360 px
    tests/support/page_widths.py --hostile FOLDER      # first build one of 300-letter words

Needs ``chromium`` on the path, which the tests do not; they check the style sheet instead
(``tests/unit/report/site/test_words.py``). Exit status 1: some page is too wide.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from harness.report.site import SiteMeta, build
from harness.report.site.about import DataCard, Heading
from tests.support import synthetic
from tests.support.synthetic import Suite

WIDTHS = (1280, 360)
BATCH = 12
SCRIPT = """onload = () => { o.textContent = JSON.stringify(
  [...document.querySelectorAll("iframe")].map(f => {
    const e = f.contentDocument.documentElement; return e.scrollWidth - e.clientWidth; })) }"""


def build_hostile(out: Path) -> None:
    """Build a site in which every name, reason and summary is one word of 300 letters."""
    word = "A" * 300
    suite = Suite(
        benchmark=word,
        matrix=word,
        victims=(word,),
        defenses={word: 0.5, "none": 0.0, "jpeg": 0.2},
        attacks={word: 1.0, "noop": 0.0, "pgd": 0.8},
        budgets=((word, 0.1), (f"{word}2", 0.05)),
        seeds=(0,),
        examples=20,
        gaps={("none", "noop"): ("module_error", word), ("jpeg", "pgd"): ("timeout", word)},
        flags={(word, word): (word, word)},
    )
    maps = replace(suite, matrix=f"maps{word}", task="segmentation")
    never = synthetic.without_records(replace(suite, matrix=f"never{word}"))
    words = Heading(word, f"{word}?", word, word, {"student": word})
    meta = SiteMeta(
        note=word,
        benchmarks={word: words},
        matrices={(word, word): words},
        cards={word: DataCard(word, word, word, 20, 10, (1, 8, 8), "classification")},
        summaries={f"{folder}/{word}": word for folder in ("attacks", "defenses", "victims")},
        families={f"attacks/{word}": word},
    )
    build(pd.concat([synthetic.frame(suite, maps), never], ignore_index=True), out, meta)


def excess(pages: list[Path], width: int, profile: str) -> list[int]:
    """Return by how many pixels each page is wider than a window of ``width``."""
    frames = "".join(
        f'<iframe src="{html.escape(page.as_uri())}" width={width} height=800></iframe>'
        for page in pages
    )
    sheet = Path(profile) / "frames.html"
    sheet.write_text(f"<body>{frames}<pre id=o></pre><script>{SCRIPT}</script>", "utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               "--allow-file-access-from-files", "--virtual-time-budget=8000",
               f"--user-data-dir={profile}", sheet.as_uri()]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<pre id="o">(.*?)</pre>', said, re.S)
    assert found, said
    return [int(value) for value in json.loads(found[1])]


def main(arguments: list[str]) -> int:
    """Print the pages that are too wide, and how many there are at each width."""
    site = Path(arguments[-1]).resolve()
    if "--hostile" in arguments:
        build_hostile(site)
    pages, wide = sorted(site.rglob("*.html")), 0
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as profile:
            for i in range(0, len(pages), BATCH):
                part = pages[i : i + BATCH]
                for page, more in zip(part, excess(part, width, profile), strict=True):
                    if more > 0:
                        wide += 1
                        print(f"{width} px: {page.relative_to(site)} is {more} px wider")
        print(f"{width} px: {len(pages)} pages measured")
    return int(wide > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
