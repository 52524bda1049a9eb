"""Text by strangers in manifests, READMEs, reasons and records: shown as text, obeyed by nobody."""

import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.table import Table

from harness.commands import report
from harness.common.progress import Meter
from harness.common.terminal import Terminal
from harness.common.text import hidden, visible
from harness.config.catalog import Catalog
from harness.results import records
from tests.support.workspaces import PERTURB, Checkout, cell, matrix
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
"""What rich itself may send to a terminal with colours."""


class Active(HTMLParser):
    """What of a page would do something: scripts, handlers, addresses that are not ours."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("iframe", "object", "embed", "form", "img", "base", "style"):
            self.found.append(tag)
        if tag == "script" and not re.fullmatch(r"(\.\./)*site\.js", given.get("src", "")):
            self.found.append(f"script {given}")
        self.found += [name for name in given if name.startswith("on")]
        for name in ("href", "src"):
            address = given.get(name, "")
            if re.match(r"\s*([a-z]+:|//)", address) and address != "data:,":
                self.found.append(address)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout whose attack says everything that it should not, and has run."""
    made = Checkout(tmp_path_factory.mktemp("words"))
    folder = made.module("attack", "loud", PERTURB.format(RAISES), summary=HTML + MARKUP)
    (folder / "README.md").write_text(README, encoding="utf-8")
    made.benchmark(matrix(attacks=["noop", "loud"]))
    path = made.root / "benchmarks/b/benchmark.yaml"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"summary": HTML + MARKUP}))
    made.ran = made.gauntlet("run", "b")
    # a record from elsewhere, with what no run here would have written
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
    told["run"]["finished"] = "2099-01-01T00:00:00+00:00"  # shown before what ran here
    told["run"] |= {"machine": TITLE + MARKUP, "images": {"attack": TITLE + HTML}}
    records.write(workspace.published_records, told)
    return made


def loud(checkout):
    """The id of the cell that failed here."""
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
"""Name → a command line that prints what strangers wrote."""


SHOWN = {
    "list": "[/red]",
    "plan": "loud",
    "show": HTML + MARKUP,
    "show-from-elsewhere": visible(TITLE) + HTML + MARKUP,
    "report": "Leaderboard: ",
    "check": "records: fine",
    "unknown": visible(TITLE) + MARKUP,
}
"""What each of them says all the same: nothing is hidden by leaving it out."""


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("colours", [False, True])
def test_no_command_passes_a_control_character_on(checkout, name, colours, monkeypatch):
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    done = checkout.gauntlet(*COMMANDS[name](checkout))
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if name == "unknown" else 0), done.stderr
    said = done.stdout + done.stderr
    plain = COLOURS.sub("", said) if colours else said
    assert hidden(plain) is None
    assert SHOWN[name] in plain


def test_a_run_says_a_reason_as_text_on_one_line(checkout):
    assert checkout.ran.returncode == 0
    said = checkout.ran.stdout + checkout.ran.stderr
    assert hidden(said) is None
    (line,) = (line for line in said.splitlines() if "module_error: " in line)
    assert HTML + MARKUP in line
    assert not any(line.startswith("status: ok") for line in said.splitlines())


def test_markup_in_a_summary_is_text(checkout):
    said = checkout.gauntlet("list").stdout
    assert "[/red]" in re.sub(r"\s|│", "", said)
    assert "[link=" in re.sub(r"\s|│", "", said)
    assert ":smile:" in re.sub(r"\s|│", "", said)


def test_pages_hold_it_as_text_and_nothing_in_them_acts(checkout):
    said = Terminal(file=io.StringIO(), width=200)
    site = report.report(checkout.workspace(), open_=False, console=said).parent
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert not [(path, found) for path, text in pages.items() if (found := Active(text).found)]
    assert any("&lt;script&gt;alert(" in text for text in pages.values())
    for path in (*pages, *site.rglob("*.csv"), *site.rglob("*.json")):
        assert hidden(path.read_text("utf-8")) is None, path
    for path in site.rglob("*"):  # whoever renders READMEs one day meets this
        assert path.is_dir() or "README-MARK" not in path.read_text("utf-8")


@pytest.mark.parametrize("field", ["summary", "license"])
@pytest.mark.parametrize("text", [TITLE, "\u202egnp", "a\u200bb", "\x9b31m"])
def test_a_manifest_with_characters_that_nobody_sees_is_refused(tmp_path, field, text):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "loud", PERTURB.format("return x"), **{field: f"a{text}"})
    _, errors = Catalog.load_with_errors(tmp_path)
    (error,) = errors
    assert "invisible character" in error.what
    assert hidden(str(error)) is None


def test_names_that_are_no_names_are_refused(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.module("attack", "<b>", PERTURB.format("return x"))
    done = checkout.gauntlet("check")
    assert done.returncode == 1
    assert "attacks/<b>/manifest.yaml" in done.stderr


def test_the_terminal_obeys_nothing_however_a_text_gets_there():
    said = io.StringIO()
    terminal = Terminal(file=said, width=300)
    table = Table("name", title=TITLE + MARKUP)
    table.add_row(TITLE + MARKUP)
    terminal.print(table)
    terminal.print(TITLE + MARKUP, soft_wrap=True)
    assert hidden(said.getvalue()) is None
    assert said.getvalue().count(visible(TITLE) + MARKUP) == 3
    rows = [line for line in said.getvalue().splitlines() if line[:1] in "┏┃┡│└"]
    assert len({len(row) for row in rows}) == 1


def test_a_progress_bar_obeys_nothing(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    said = io.StringIO()
    terminal = Terminal(file=said, width=200)
    with Meter("b", terminal) as meter:
        meter.update(1, 2, TITLE + MARKUP)
    assert "\\u202e[/red][link=file" in said.getvalue()
    assert not re.search("\x1b\\]|\x07|\x9b|\u202e", said.getvalue())
