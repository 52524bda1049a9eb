"""``gauntlet check`` and then ``gauntlet run``: the record says what the check said."""

import io
import shutil
from unittest.mock import patch

import pytest
from rich.console import Console

from harness.commands.check import check
from harness.conformance.runner import CheckResult
from tests.support.errors import raises_error
from tests.support.workspaces import Checkout, matrix

PASSED = [CheckResult("runs a", True), CheckResult("plays b", True, "absent", tried=False)]
FAILED = [*PASSED, CheckResult("one row", False, "attack sign: no")]


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.benchmark(matrix(attacks=["sign"]))
    return made


def checked(checkout, results):
    """Check ``attacks/sign`` with these results; return what was printed."""
    shown = Console(file=io.StringIO(), width=1000)
    with (
        patch("harness.conformance.checks.run_checks", lambda *_: iter(results)),
        patch("harness.commands.lint.check_lint", lambda _: CheckResult("lint", True)),
    ):
        try:
            check(checkout.workspace(), checkout.root / "attacks" / "sign", "local", shown)
        finally:
            text = shown.file.getvalue()
    return text


def recorded(checkout, module="attacks/sign"):
    """Run without earlier records; return what the new one says of a module."""
    shutil.rmtree(checkout.workspace().local_records, ignore_errors=True)
    checkout.run()
    (found,) = checkout.records().values()
    assert found.status == "ok"
    return found.check(module)


def test_a_record_says_what_is_known_of_the_module_as_it_is(checkout):
    assert recorded(checkout).state == "unchecked"
    assert "–    plays b: absent" in checked(checkout, PASSED)
    assert recorded(checkout).model_dump() == {
        "state": "passed", "executor": "local", "failures": [], "untried": ["plays b"],
    }  # fmt: skip
    assert recorded(checkout, "victims/tiny").state == "unchecked"
    code = checkout.root / "attacks" / "sign" / "attack.py"
    before = code.read_text()
    code.write_text(before + "# changed\n")
    assert recorded(checkout).state == "unchecked"
    with raises_error("check-failed", where="attacks/sign"):
        checked(checkout, FAILED)
    assert recorded(checkout).failures == ["one row"]
    code.write_text(before)
    assert recorded(checkout).state == "passed", "the file of this digest is still there"


def test_a_check_that_did_not_end_says_nothing(checkout):
    def stops(*_):
        yield PASSED[0]
        raise KeyboardInterrupt

    with patch("harness.conformance.checks.run_checks", stops), pytest.raises(KeyboardInterrupt):
        check(
            checkout.workspace(), checkout.root / "attacks" / "sign", "local",
            Console(file=io.StringIO()),
        )  # fmt: skip
    assert recorded(checkout).state == "unchecked"


def test_show_names_what_was_not_checked(checkout):
    checked(checkout, PASSED)
    recorded(checkout)
    done = checkout.gauntlet("show", "sign")
    assert "  check of attacks/sign: passed\n" in done.stdout
    assert "  not checked: defenses/none, victims/tiny\n" in done.stdout
