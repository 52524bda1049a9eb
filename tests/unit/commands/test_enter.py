"""``gauntlet enter``: a line of a module in a benchmark's file, and nothing else."""

import io

import pytest
from rich.console import Console

from harness.commands.enter import enter
from harness.common.errors import UserError
from tests.support.errors import raises_error
from tests.support.workspaces import POISONING, Checkout, matrix

TEXT = """\
# what this is for
schema: benchmark/1
name: b
title: Benchmark b
question: Does it run?
ceiling: {minutes: 1, memory_gb: 4}
matrices:
- name: one
  title: One
  question: Does it run?
  threat_model: evasion
  data: {student: digits}
  victims: [tiny]
  defenses: [none]
  attacks: [noop]  # the control
  budgets: [{norm: linf, eps: 0.1}]
  eval_subset: {examples: 40, batch: 20}
- name: two
  title: Two
  question: Does it run?
  threat_model: evasion
  data: {student: digits}
  victims:
  - tiny
  defenses: [none]
  attacks:
  - noop
  # the last one
  - name: random_noise
    as: noise
  budgets: [{norm: linf, eps: 0.1}]
  eval_subset: {examples: 40, batch: 20}
"""


@pytest.fixture
def checkout(tmp_path):
    made = Checkout(tmp_path)
    made.benchmark(matrix())
    made.file = made.root / "benchmarks/b/benchmark.yaml"
    made.file.write_text(TEXT)
    return made


def entered(checkout, module, *benches) -> str:
    said = io.StringIO()
    enter(checkout.workspace(), module, list(benches or ("b",)), Console(file=said, width=200))
    return said.getvalue()


@pytest.mark.parametrize("module", ["attack/sign", "attacks/sign"])
def test_a_line_is_added_to_each_matrix_and_all_else_stays(checkout, module):
    said = entered(checkout, module)
    wanted = TEXT.replace("[noop]  # the", "[sign, noop]  # the")
    wanted = wanted.replace("  - name: random_noise", "  - sign\n  - name: random_noise")
    assert checkout.file.read_text() == wanted
    assert "sign is in one, two now" in said
    assert "gauntlet run b --only attack=sign" in said


def test_what_is_there_is_not_added_again(checkout):
    entered(checkout, "attack/sign")
    once = checkout.file.read_text()
    assert "was there already" in entered(checkout, "attack/sign")
    assert checkout.file.read_text() == once


def test_a_benchmark_in_json_is_written_too(checkout):
    checkout.benchmark(matrix(), name="c")
    entered(checkout, "attack/sign", "c")
    (found,) = checkout.workspace().benchmark("c").matrices
    assert [one.label for one in found.attacks] == ["sign", "noop"]


def test_what_cannot_be_entered_changes_nothing(checkout):
    with raises_error("enter-of-no-module", where="attack/sgin"):
        entered(checkout, "attack/sgin")
    with raises_error("enter-of-no-kind", where="sign"):
        entered(checkout, "sign")
    checkout.benchmark(matrix(**POISONING), name="c")
    where = checkout.root / "benchmarks/c/benchmark.yaml"
    with pytest.raises(UserError, match="no matrix takes attack sign") as caught:
        entered(checkout, "attack/sign", "c")
    assert caught.value.where == str(where)
    with raises_error("enter-of-no-variant", where="attack/sign/strong"):
        entered(checkout, "attack/sign/strong")
    assert checkout.file.read_text() == TEXT
