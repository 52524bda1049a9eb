"""Records that a file, a page or an address names, and what is said where none is."""

import html
import json
import re
import shlex
import socket
import threading
from dataclasses import replace

import pytest

from harness.commands.named_records import is_place, read_named
from harness.report.site.render import build
from harness.results import records
from harness.workspace import Workspace
from tests.support import synthetic
from tests.support.errors import raises_error
from tests.support.leaderboards import SMALL
from tests.unit.results.test_records import RECORD, made

CELL = "invented/linf/small-cnn/weak/pgd.html"


@pytest.fixture
def workspace(tmp_path):
    """A checkout with a site of invented records, two budgets of three seeds a page."""
    found = Workspace(tmp_path, tmp_path / ".gauntlet")
    suite = replace(SMALL, budgets=(("L∞ 8/255", 8 / 255), ("L∞ 4/255", 4 / 255)))
    gaps = {("strong", "noop"): ("missing", "not run yet")}
    build(synthetic.frame(replace(suite, gaps=gaps)), found.site)
    return found


def names(found):
    return sorted(record.id.split("/", 4)[4] for record in found)


def test_a_page_names_all_its_records_and_an_anchor_those_of_a_budget_or_one(workspace):
    page = workspace.site / CELL
    every = names(read_named(workspace, str(page)))
    assert len(every) == 6
    assert names(read_named(workspace, f"{page}#linf-8-255")) == every[3:]
    assert names(read_named(workspace, f"{page}#linf-8-255-s1")) == every[4:5]
    assert names(read_named(workspace, f"{page.as_uri()}#linf-8-255-s1")) == every[4:5]
    assert names(read_named(workspace, f"{CELL}#linf-8-255-s1")) == every[4:5]
    assert names(read_named(workspace, str(page.with_suffix(".records.json")))) == every


def test_the_page_prints_what_reproduce_takes(workspace):
    found = re.findall("<code>(gauntlet reproduce .*)</code>", (workspace.site / CELL).read_text())
    assert len(found) == 6
    for command in found:
        _, _, place = shlex.split(html.unescape(command))
        assert len(read_named(workspace, place)) == 1


def test_a_record_s_file_is_read_with_its_digest(tmp_path):
    workspace = Workspace(tmp_path, tmp_path / ".gauntlet")
    path = records.write(tmp_path / "records", made())
    assert read_named(workspace, str(path)) == [made()]
    copy = path.with_name("a download.json")
    copy.write_bytes(path.read_bytes())
    assert read_named(workspace, str(copy)) == [made()]
    copy.write_text(path.read_text().replace('"value": 0.5', '"value": 0.6'))
    with raises_error("named-record-changed", where=copy):
        read_named(workspace, str(copy))


@pytest.mark.parametrize(
    ("code", "part", "value"),
    [
        ("named-odd-commit", "run", {"commit": "--batch"}),
        ("named-odd-benchmark", "cell", {"benchmark": "../../x"}),
    ],
)
def test_what_git_and_the_checkout_are_asked_for_is_plain(code, part, value, tmp_path):
    workspace = Workspace(tmp_path, tmp_path / ".gauntlet")
    record = made(**{part: RECORD[part] | value})
    for name, fields in (("one", record.to_json()), ("list", [records.to_brief(record)])):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(fields))
        with raises_error(code, where=path):
            read_named(workspace, str(path))


def test_what_is_a_place_and_what_a_cell_or_a_digest(tmp_path):
    for text in ("a/b.html", "a/b.html#x", "x.json", "https://h/p", "file:///x", "http://h"):
        assert is_place(text), text
    for text in ("quick/digits-linf/small-cnn/none/pgd/linf-8_255/s0", "3f2a99", "pgd"):
        assert not is_place(text), text
    (tmp_path / "page").write_text("")
    assert is_place(str(tmp_path / "page"))
    assert not is_place("a" * 300)  # longer than a file's name may be
    assert not is_place("a\0b")


BAD = {
    "named-no-file": ("gone.html", None),
    "named-long": (f"{'a' * 300}.html", None),
    "named-odd-link": (
        "odd.html",
        '<link title="Gauntlet records" href="http://[::1"><li id="a" data-result="r">',
    ),
    "named-no-page": ("other.html", "<html><body>Another site</body></html>"),
    "named-empty": ("empty.html", ""),
    "named-no-list": ("list.json", "[]"),
    "named-cut": ("cut.json", '[{"schema": '),
    "named-other-list": ("other.json", "[1, 2]"),
}


@pytest.mark.parametrize("code", BAD)
def test_what_holds_no_records_is_one_line(workspace, code):
    name, content = BAD[code]
    path = workspace.root / name
    if content is not None:
        path.write_text(content)
    with raises_error(code, where=path):
        read_named(workspace, str(path))


def test_a_page_s_mistakes_are_one_line(workspace):
    page = workspace.site / CELL
    with raises_error("named-no-anchor", where=page):
        read_named(workspace, f"{page}#linf-2-255-s0")
    never = workspace.site / "invented/linf/small-cnn/strong/noop.html"
    with raises_error("named-not-run", where=never):
        read_named(workspace, str(never))
    beside = page.with_suffix(".records.json")
    content = json.loads(beside.read_text())
    beside.write_text(json.dumps(content[:2]))
    with raises_error("named-other-version", where=page):
        read_named(workspace, str(page))
    beside.unlink()
    with raises_error("named-without-records", where=beside.as_uri()):
        read_named(workspace, str(page))


def test_a_page_may_not_lead_from_the_web_to_a_file_of_this_machine(workspace, monkeypatch):
    page = '<link title="Gauntlet records" href="file:///etc/passwd"><li id="a" data-result="r">'
    monkeypatch.setattr("harness.commands.named_records._fetch", lambda address, place: page)
    with raises_error("named-leads-away", where="https://host.invalid/a.html"):
        read_named(workspace, "https://host.invalid/a.html")


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("named-no-status", b"hello\r\n\r\n"),
        ("named-cut-answer", b"HTTP/1.1 200\r\nContent-Length: 9\r\n\r\nabc"),
        ("named-cut-chunk", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"),
    ],
)
def test_an_answer_that_is_no_answer_is_one_line(workspace, code, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def say():
            with server.accept()[0] as client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=say)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.html"
        with raises_error(code, where=address):
            read_named(workspace, address)
        thread.join()


def test_an_address_without_a_port_number_is_one_line(workspace):
    with raises_error("named-no-port", where="http://localhost:abc/x.html"):
        read_named(workspace, "http://localhost:abc/x.html")


def test_an_address_that_nothing_answers_is_one_line(workspace):
    address = "http://127.0.0.1:9/a.html"  # the discard port: closed wherever tests run
    with raises_error("named-no-answer", where=address):
        read_named(workspace, address)
