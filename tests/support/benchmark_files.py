"""A benchmark file that is right, ways to change it, and budgets of each threat model."""

import re
from pathlib import Path

import pytest

from harness.common.errors import UserError
from harness.config.benchmark import load_benchmark

QUICK = """\
schema: benchmark/1
name: quick
title: Quick
question: Does all of it run?
ceiling: {minutes: 5, memory_gb: 4}
matrices:
- name: digits-linf
  title: Handwritten digits
  question: What is left of a defence?
  threat_model: evasion
  data: {student: {name: digits, train_fraction: 1.0}}
  victims: [small-cnn]
  defenses: [none, {name: adversarial-training, adversary: {attack: pgd, params: {steps: 7}, \
budget: {norm: linf, eps: 8/255}}}]
  attacks: [noop, random_noise, fgsm, {name: pgd, params: {steps: 40}, as: pgd-40}, pgd/pgd-100]
  budgets: [{norm: linf, eps: 4/255}, {norm: linf, eps: 8/255}]
  goal: untargeted
  knowledge: none
  poisons: train
  ensembles: {all-pgd: [pgd/pgd-100, pgd-40]}
  eval_subset: {examples: 500, batch: 100}
  clean: 100
  seeds: [0, 1, 2]
  keep: {examples: 8, attention: false}
"""
# (threat model, budget as written, label)
BUDGETS = [
    (
        "evasion",
        "{norm: linf, eps: 1/10, per_channel: [0.2, 51/255, 0.4]}",
        "L∞ 1/10 × (0.2, 51/255, 0.4) = (5.1, 5.1, 10.2)/255",
    ),
    ("evasion", "{norm: linf, eps: 8/255}", "L∞ 8/255"),
    ("evasion", "{norm: l2, eps: 0.5}", "L2 0.5"),
    ("evasion", "{norm: l2, eps: 1}", "L2 1"),
    ("evasion", "{unbounded: true}", "unbounded"),
    ("evasion", "{patch: 3}", "patch 3×3"),
    ("evasion-query", "{norm: linf, eps: 8 / 255, queries: 200}", "L∞ 8/255, 200 queries"),
    (
        "evasion-query",
        "{norm: l2, eps: 2, queries: 9, answers: labels}",
        "L2 2, 9 queries, labels only",
    ),
    ("poisoning", "{edits: 0.05, labels: true, features: true}", "5 % edits"),
    ("poisoning", "{edits: 1/20, labels: true}", "5 % label edits"),
    ("poisoning", "{edits: 0.001, features: true}", "0.1 % input edits"),
    ("backdoor", "{patch: 3, edits: 0.1, target: 0}", "patch 3×3, 10 % edits, target 0"),
    ("supply-chain", "{patch: 3, target: 1}", "patch 3×3, target 1"),
]
DATA = "{student: digits, public: digits, attacker: digits}"


def write(text: str, name: str = "quick") -> Path:
    folder = Path("benchmarks") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.yaml").write_text(text)
    return folder


def lines_of(text: str) -> list[str]:
    path = write(text) / "benchmark.yaml"
    with pytest.raises(UserError) as caught:
        load_benchmark(path)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def matrix_with(**lines: str | None):
    """The example's matrix with some of its lines replaced, added, or (``None``) left out."""
    text = QUICK
    for name, value in lines.items():
        line = "" if value is None else f"  {name}: {value}\n"
        text, count = re.subn(rf"^  {name}: .*\n", lambda _, line=line: line, text, flags=re.M)
        text += "" if count else line
    write(text)
    return load_benchmark("quick").matrices[0]
