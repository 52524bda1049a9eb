"""Streams that are no UTF-8, full, closed or without a width: one line, never a traceback."""

import codecs
import io
import os
import subprocess
import sys

import pytest

from harness.common.terminal import Terminal, replace_unencodable

GAUNTLET = [sys.executable, "-m", "harness.cli"]
BUFFERS = [{}, {"PYTHONUNBUFFERED": "1"}]


def environment(**changes):
    """This process's environment, with the streams' settings as given."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") or k == "PYTHONPATH"
            } | changes  # fmt: skip


def gauntlet(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **changes):
    return subprocess.run(
        [*GAUNTLET, *words], stdout=stdout, stderr=stderr, env=environment(**changes), check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": "1"},
    ],
    ids=str,
)
def test_a_character_that_the_stream_cannot_take_is_replaced(changes):
    done = gauntlet("list", COLUMNS="60", **changes)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "pgd" in done.stdout.decode("ascii" if "LC_ALL" in changes else "cp1252")
    failed = gauntlet("show", "\u2603", **changes)  # a snowman
    assert failed.returncode == 1
    assert b"no recorded cell matches" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_a_range_stays_readable_without_its_dash():
    codecs.register_error("test.replace", replace_unencodable)
    assert "3–4 × L∞".encode("ascii", "test.replace") == b"3-4 x L?"
    assert "3–4 × é".encode("latin-1", "test.replace") == "3-4 × é".encode("latin-1")


@pytest.mark.slow
def test_what_utf_8_can_say_is_not_replaced():
    assert "…" in gauntlet("list", COLUMNS="60", PYTHONIOENCODING="utf-8").stdout.decode()


@pytest.mark.slow
@pytest.mark.parametrize("changes", BUFFERS, ids=str)
@pytest.mark.parametrize("words", [("list",), ("schema",), ("--help",)], ids=str)
def test_a_full_device_is_one_line(words, changes):
    with open("/dev/full", "wb") as full:
        done = gauntlet(*words, stdout=full, **changes)
        assert done.returncode == 1
        assert done.stderr.decode() == (
            "standard output: cannot be written (No space left on device); "
            "make room there, or write to another place\n"
        )


@pytest.mark.slow
@pytest.mark.parametrize("changes", BUFFERS, ids=str)
def test_errors_that_cannot_be_written_change_no_exit_code(changes):
    with open("/dev/full", "wb") as full:
        assert gauntlet("schema", stderr=full, **changes).returncode == 0
        assert gauntlet("show", "nothing", stderr=full, **changes).returncode == 1
        assert gauntlet("nothing", stderr=full, **changes).returncode == 2
        assert gauntlet("list", stdout=full, stderr=full, **changes).returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("changes", BUFFERS, ids=str)
@pytest.mark.parametrize("words", [("list",), ("schema",), ("--help",)], ids=str)
def test_a_reader_who_has_gone_is_no_error_to_speak_of(words, changes):
    """As with ``| head -1``: nothing on the standard error, and no code that says a bug."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = gauntlet(*words, stdout=write, **changes)
    finally:
        os.close(write)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "widest"), [("0", 80), ("1", 40), ("39", 40), ("120", 120)])
def test_columns_that_cannot_hold_a_table_are_not_obeyed(columns, widest):
    lines = gauntlet("list", COLUMNS=columns, PYTHONIOENCODING="utf-8").stdout.decode().splitlines()
    assert max(map(len, lines)) == widest


def test_data_is_written_as_utf_8_whatever_the_stream_is():
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", errors="replace") as stream:
        terminal = Terminal(file=stream)
        terminal.print("é")
        terminal.write_exactly("é\r\n")
        assert raw.getvalue() == b"?\n" + "é\r\n".encode()
    memory = io.StringIO()
    Terminal(file=memory).write_exactly("é\n")
    assert memory.getvalue() == "é\n"
