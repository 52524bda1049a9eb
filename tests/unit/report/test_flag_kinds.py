"""The table of flags: every flag has a row, and every row a flag."""

import ast
from pathlib import Path

import harness
from harness.report import noise_floor
from harness.report.blinding import SIGNS
from harness.report.flag_kinds import FLAG_KINDS, Direction, direction_of


def raised() -> set[str]:
    """Return the literal name of every flag that code makes."""
    found = set()
    for path in Path(harness.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Flag":
                continue
            found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def test_every_flag_has_a_row_and_every_row_a_flag():
    assert raised() | set(SIGNS) | {noise_floor.EQUAL, noise_floor.WORSE} == set(FLAG_KINDS)


def test_meanings_are_sentences():
    assert all(kind.meaning.endswith(".") for kind in FLAG_KINDS.values())


def test_what_speaks_for_a_defence_is_no_warning():
    assert not direction_of("control_same").serious
    assert direction_of("control_same", undefended=True) is Direction.ATTACK
    assert direction_of("lost_gradients").serious
    assert direction_of("of an old record").serious
