"""The help of the command line: one short plain line for every command, argument and option."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from harness.cli import app

LONGEST = 60
MARKUP = re.compile(r"[`*\[\]<>]|:\w+:")


def commands(command: Any, name: str = "gauntlet") -> Iterator[tuple[str, Any]]:
    """Yield a command and all commands below it, with their full names."""
    yield name, command
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner, f"{name} {inner.name}")


COMMANDS = dict(commands(typer.main.get_command(app)))
OPTIONS = {
    f"{name} {' '.join(option.opts)}": option.help or ""
    for name, command in COMMANDS.items()
    for option in command.params
}


def test_the_walk_finds_commands_and_options():
    assert {"gauntlet", "gauntlet run", "gauntlet data", "gauntlet data fetch"} <= COMMANDS.keys()
    assert {"gauntlet run --retry-failed", "gauntlet run bench"} <= OPTIONS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_one_short_sentence(name):
    line = COMMANDS[name].help or ""
    assert re.fullmatch(r"[A-Z].+\.", line), "one sentence on one line"
    assert len(line) <= LONGEST
    assert not MARKUP.search(line)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_has_one_short_phrase(name):
    line = OPTIONS[name]
    assert re.fullmatch(r".*\w.*[^.]", line), "a phrase on one line"
    assert not re.match(r"[A-Z][a-z]", line)
    assert len(line) <= LONGEST
    assert not MARKUP.search(line)
