"""What is wrong with a matrix of a throw-away checkout, by the rules on its limits."""

from __future__ import annotations

import re
from pathlib import Path

from harness.common.errors import UserError
from harness.config.benchmark import load_benchmark
from harness.planning.budget_rules import budget_errors
from tests.support.sources import all_sets
from tests.support.workspaces import POISONING, Checkout, matrix

RANKING = POISONING | {"data": {"student": "digits-ranking"}}
SCENES = {"data": {"student": "digit-scenes"}}
DISHES = {"data": {"student": "food"}}
FIVES = {"student": "digits-5-9"}


def matrix_errors(tmp_path: Path, **changes: object) -> list[str]:
    """What is wrong with a matrix: each error without the file's name."""
    root = Checkout(tmp_path).root
    Checkout(tmp_path).benchmark(matrix(**changes))
    try:
        found = budget_errors(load_benchmark("b", root), all_sets(tmp_path))
    except UserError as error:
        found = [error]
    return [re.sub(r"^.*benchmark\.yaml:", "", line) for e in found for line in str(e).splitlines()]


def assert_one_line(tmp_path: Path, changes: dict, key: str, words: str) -> None:
    """Assert that one thing is wrong, at a key, and that a fix is named."""
    (line,) = matrix_errors(tmp_path, **changes)
    assert re.match(rf"\d+:\d+: matrices\[0\]\.{re.escape(key)}: ", line), line
    assert words in line
    assert "; " in line


def shots(count, name="digits", **more):
    return {"data": {"student": {"name": name, "shots": count, **more}}}


def amounts(key, values, name="digits", **more):
    return {"data": {"student": {"name": name, key: values, **more}}}
