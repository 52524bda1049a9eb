"""Manifests that are right, and ways to write them and to read their mistakes."""

from pathlib import Path

import pytest

from harness.common.errors import UserError
from harness.config.manifest_file import load_manifest

PGD = """\
schema: manifest/1
kind: attack
name: pgd
summary: Projected gradient ascent on the victim's loss inside an Lp ball.
reference: {title: "Towards", url: "https://example.org", year: 2018}
license: MIT
tasks: [classification, segmentation]
threat_models: [evasion]
needs: [loss]
entry: attack.py:PGD
hooks: [perturb]
params:
  steps: {type: int, default: 20, min: 1, max: 1000, help: gradient steps}
  rate: {type: float, default: 1/4, min: 0}
  start: {type: str, default: random, choices: [random, clean]}
  restart: {type: bool, default: false}
variants: {pgd-100: {steps: 100}}
limits: {minutes: 20, memory_gb: 4}
smoke: {params: {steps: 5}, expect: {attack_success_rate: {min: 0.3}}}
requires: [{limits: [linf]}]
"""
VICTIM = """\
schema: manifest/1
kind: victim
name: pgd
summary: A network.
license: MIT
tasks: [classification]
offers: [loss, features]
entry: victim.py:Net
hooks: [build, recipe]
"""


def write(text: str, folder: str = "attacks/pgd") -> Path:
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / "attack.py").touch()
    (path / "victim.py").touch()
    (path / "manifest.yaml").write_text(text)
    return path


def lines_of(path: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_manifest(path)
    return [line.removeprefix(f"{path}/manifest.yaml:") for line in str(caught.value).splitlines()]
