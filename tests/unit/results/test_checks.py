"""Results of ``gauntlet check``: of the module and the harness as they are now, or none."""

import json

import pytest
from pydantic import ValidationError

from harness.common.keys import code_digest, conformance_digest
from harness.results import checks
from harness.results.checks import UNCHECKED, Checks, ModuleCheck, RecordedCheck

DIGEST = "d" * 64


def result(**changes):
    fields = {
        "module": "attacks/odd",
        "digest": DIGEST,
        "harness": conformance_digest(),
        "executor": "local",
        "checks": 9,
        "failures": [],
        "untried": [],
        "finished": "2026-01-01T00:00:00+00:00",
    }
    return ModuleCheck.model_validate(fields | changes)


def test_a_result_is_read_back_for_its_module_and_digest_only(tmp_path):
    known = Checks(tmp_path / "checks")
    assert known.of("attacks/odd", DIGEST) == UNCHECKED
    known.write(result())
    assert known.of("attacks/odd", DIGEST) == RecordedCheck(state="passed", executor="local")
    assert known.of("attacks/other", DIGEST) == UNCHECKED
    assert known.of("attacks/odd", "e" * 64) == UNCHECKED
    known.write(result(executor="docker", failures=["runs a", "rebuild b"], untried=["c"]))
    found = known.of("attacks/odd", DIGEST)
    assert found.model_dump() == {
        "state": "failed", "executor": "docker", "failures": ["runs a", "rebuild b"],
        "untried": ["c"],
    }  # fmt: skip
    assert known.of_all({"attacks/odd": DIGEST, "victims/x": DIGEST}) == {
        "attacks/odd": found, "victims/x": UNCHECKED,
    }  # fmt: skip


def test_another_harness_has_checked_nothing(tmp_path, monkeypatch):
    known = Checks(tmp_path)
    known.write(result())
    monkeypatch.setattr(checks, "conformance_digest", lambda: "another")
    assert Checks(tmp_path).of("attacks/odd", DIGEST) == UNCHECKED


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": "check/2"}', "[" * 100_000, "\x00\xff", '{"state": "passed"}'],
)
def test_a_broken_file_proves_nothing(tmp_path, text):
    (tmp_path / f"{DIGEST}.json").write_text(text)
    assert Checks(tmp_path).of("attacks/odd", DIGEST) == UNCHECKED


@pytest.mark.parametrize("changes", [{"checks": "9"}, {"more": 1}, {"executor": "elsewhere"}])
def test_a_file_of_another_form_proves_nothing(tmp_path, changes):
    content = result().model_dump(by_alias=True) | changes
    (tmp_path / f"{DIGEST}.json").write_text(json.dumps(content))
    assert Checks(tmp_path).of("attacks/odd", DIGEST) == UNCHECKED
    with pytest.raises(ValidationError):
        ModuleCheck.model_validate(content)


def test_the_digest_covers_all_that_decides_a_check():
    assert conformance_digest() == code_digest(["runtime", "judge", "conformance"])
