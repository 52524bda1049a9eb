"""Untrusted text in manifests, READMEs, reasons and records is printed as text and never acts."""

import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.table import Table

from harness.commands import report
from harness.common.progress import Meter
from harness.common.terminal import Terminal
from harness.common.text import escape, find_hidden_character
from harness.config.catalog import Catalog
from harness.results import records
from tests.support.module_sources import PERTURB
from tests.support.workspaces import Checkout, cell, matrix
from tests.unit.report.test_frame import CONTAINED, record

TITLE = "\x1b]0;owned\x07\x9b2J\u202e"
HTML = '<script>alert("SCRIPT-MARK")</script><img src=x onerror=alert(1)>'
MARKUP = "[/red][link=file:///etc]LINK-MARK[/link] :smile:"
README = f"""# {HTML}
[press](javascript:alert(1)) ![](//evil.invalid/README-MARK.png) {TITLE}
<iframe src="//evil.invalid"></iframe>
"""
RAISES = f"raise RuntimeError({TITLE!r} + {(HTML + MARKUP)!r} + '\\r\\nstatus: ok\\u202e')"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Escape sequences that rich itself sends to a terminal with colours."""


PICTURE = r"(\.\./)*pictures/[\w.-]+\.png"


class Active(HTMLParser):
    """Active content of a page: scripts, handlers and foreign addresses."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in ("iframe", "object", "embed", "form", "base", "style"):
            self.found.append(tag)
        # the site's own pictures of data
        if tag == "img" and not re.fullmatch(PICTURE, values.get("src", "")):
            self.found.append(f"img {values}")
        if tag == "script" and not re.fullmatch(r"(\.\./)*site\.js", values.get("src", "")):
            self.found.append(f"script {values}")
        self.found += [name for name in values if name.startswith("on")]
        for name in ("href", "src"):
            address = values.get(name, "")
            if re.match(r"\s*([a-z]+:|//)", address) and address != "data:,":
                self.found.append(address)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with one finished run of an attack that prints hostile text."""
    made = Checkout(tmp_path_factory.mktemp("words"))
    folder = made.module("attack", "loud", PERTURB.format(RAISES), summary=HTML + MARKUP)
    (folder / "README.md").write_text(README, encoding="utf-8")
    made.benchmark(matrix(attacks=["noop", "loud"]))
    path = made.root / "benchmarks/b/benchmark.yaml"
    hostile = {name: HTML + MARKUP for name in ("title", "summary", "out_of_scope")}
    hostile["question"] = HTML + MARKUP + "?"
    path.write_text(json.dumps(json.loads(path.read_text()) | hostile))
    made.ran = made.gauntlet("run", "b")
    # A record from another machine, with text that no run here would have written.
    workspace = made.workspace()
    planned = cell(workspace.plan(workspace.benchmark("b"), executor="docker"), attack="noop")
    told = record(
        planned,
        "module_error",
        reason=TITLE + HTML + MARKUP,
        environment=CONTAINED,
        notes=[TITLE + MARKUP],
        flags=[{"name": "noop_differs", "text": TITLE + HTML + MARKUP}],
    )
    run = told.run.model_copy(
        update={
            "finished": "2099-01-01T00:00:00+00:00",  # shown before what ran here
            "machine": TITLE + MARKUP,
            "images": {"attack": TITLE + HTML},
        }
    )
    records.write(workspace.published_records, told.model_copy(update={"run": run}))
    return made


def loud(checkout):
    """Return the id of the cell that failed here."""
    return next(one for one in checkout.records() if "/loud/" in one)


COMMANDS = {
    "list": lambda checkout: ("list",),
    "plan": lambda checkout: ("plan", "b", "--executor", "local", "--why", loud(checkout)),
    "show": lambda checkout: ("show", loud(checkout)),
    "show-from-elsewhere": lambda checkout: ("show", "noop"),
    "report": lambda checkout: ("report",),
    "check": lambda checkout: ("check",),
    "unknown": lambda checkout: ("show", TITLE + MARKUP),
}
"""Name → a command line that prints untrusted text."""


EXPECTED = {
    "list": "[/red]",
    "plan": "loud",
    "show": HTML + MARKUP,
    "show-from-elsewhere": escape(TITLE) + HTML + MARKUP,
    "report": "Leaderboard: ",
    "check": "records: fine",
    "unknown": escape(TITLE) + MARKUP,
}
"""Name → text that the command must print, so that nothing is left out."""


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("colours", [False, True])
def test_no_command_prints_a_control_character(checkout, name, colours, monkeypatch):
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    done = checkout.gauntlet(*COMMANDS[name](checkout))
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if name == "unknown" else 0), done.stderr
    output = done.stdout + done.stderr
    plain = COLOURS.sub("", output) if colours else output
    assert find_hidden_character(plain) is None
    assert EXPECTED[name] in plain


def test_a_run_prints_a_reason_as_text_on_one_line(checkout):
    assert checkout.ran.returncode == 0
    output = checkout.ran.stdout + checkout.ran.stderr
    assert find_hidden_character(output) is None
    (line,) = (line for line in output.splitlines() if "module_error: " in line)
    assert HTML + MARKUP in line
    assert not any(line.startswith("status: ok") for line in output.splitlines())


def test_markup_in_a_summary_is_text(checkout):
    output = checkout.gauntlet("list").stdout
    assert "[/red]" in re.sub(r"\s|│", "", output)
    assert "[link=" in re.sub(r"\s|│", "", output)
    assert ":smile:" in re.sub(r"\s|│", "", output)


def test_pages_hold_untrusted_text_as_text(checkout):
    output = Terminal(file=io.StringIO(), width=200)
    site = report.report(checkout.workspace(), open_=False, console=output).parent
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert not [(path, found) for path, text in pages.items() if (found := Active(text).found)]
    assert any("&lt;script&gt;alert(" in text for text in pages.values())
    for path in (*pages, *site.rglob("*.csv"), *site.rglob("*.json")):
        assert find_hidden_character(path.read_text("utf-8")) is None, path
    for path in site.rglob("*"):  # no page shows a README; one that does must extend this test
        assert path.is_dir() or b"README-MARK" not in path.read_bytes()


@pytest.mark.parametrize("field", ["summary", "license"])
@pytest.mark.parametrize("text", [TITLE, "\u202egnp", "a\u200bb", "\x9b31m"])
def test_a_manifest_with_invisible_characters_is_refused(tmp_path, field, text):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "loud", PERTURB.format("return x"), **{field: f"a{text}"})
    _, errors = Catalog.load_with_errors(tmp_path)
    (error,) = errors
    assert "invisible character" in error.what
    assert find_hidden_character(str(error)) is None


def test_names_outside_the_grammar_are_refused(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "<b>", PERTURB.format("return x"))
    done = checkout.gauntlet("check")
    assert done.returncode == 1
    assert "attacks/<b>/manifest.yaml" in done.stderr


def test_the_terminal_prints_untrusted_text_as_text():
    output = io.StringIO()
    terminal = Terminal(file=output, width=300)
    table = Table("name", title=TITLE + MARKUP)
    table.add_row(TITLE + MARKUP)
    terminal.print(table)
    terminal.print(TITLE + MARKUP, soft_wrap=True)
    assert find_hidden_character(output.getvalue()) is None
    assert output.getvalue().count(escape(TITLE) + MARKUP) == 3
    rows = [line for line in output.getvalue().splitlines() if line[:1] in "┏┃┡│└"]
    assert len({len(row) for row in rows}) == 1


def test_a_progress_bar_prints_untrusted_text_as_text(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = io.StringIO()
    terminal = Terminal(file=output, width=200)
    with Meter("b", terminal) as meter:
        meter.update(1, 2, TITLE + MARKUP)
    assert "\\u202e[/red][link=file" in output.getvalue()
    assert not re.search("\x1b\\]|\x07|\x9b|\u202e", output.getvalue())
