"""Which settings a module is checked in: large pictures in few, small ones in all."""

from types import SimpleNamespace

import pytest
import yaml

from harness.common.keys import ROOT
from harness.config.catalog import Catalog, Module
from harness.config.manifest_file import load_manifest
from harness.conformance import checks
from harness.conformance.checks import SettingChecks
from harness.conformance.smoke import SHORT, reference_victim


@pytest.fixture
def tried(monkeypatch):
    """Settings that are tried, in order; nothing runs, and all of them play but ``declines``."""
    found = []

    def check(self, one):
        found.append(one.name)
        self._played |= {(one.task, one.variant)} - {(one.task, "declines")}
        return []

    monkeypatch.setattr(SettingChecks, "_check", check)
    for name in ("check_budget_edges", "check_largest", "check_weights"):
        monkeypatch.setattr(checks, name, lambda *args: [])
    return found


def victim(folder, requires, **changes):
    """The small network, with requirements on its pictures."""
    raw = yaml.safe_load((ROOT / "victims" / "small-cnn" / "manifest.yaml").read_text())
    folder = folder / "small-cnn"
    folder.mkdir()
    (folder / "victim.py").touch()
    (folder / "manifest.yaml").write_text(yaml.safe_dump(raw | {"requires": requires} | changes))
    return Module(folder, load_manifest(folder / "manifest.yaml"))


def untried(module):
    runner = SimpleNamespace(module=module)
    return [one.name for one in SettingChecks(runner).run() if not one.tried]


def test_a_network_for_large_pictures_plays_once(tmp_path, tried):
    left = untried(victim(tmp_path, [{"side": [224]}]))
    assert len(tried) == 1
    assert "runs poisoning/classification" in left


def test_one_large_variant_spares_the_others_nothing(tmp_path, tried):
    """Otherwise a variant that is for show would keep the module from most of its checks."""
    module = victim(
        tmp_path,
        [{"side": [224], "when": {"width": [99]}}],
        variants={"huge": {"width": 99}},
        smoke={"variant": "huge", "expect": {"clean_accuracy": {"min": 0.9}}},
    )
    left = untried(module)
    assert {"evasion/classification", "poisoning/classification"} <= set(tried)
    assert "runs poisoning/classification/huge" in left


def test_variants_play_under_the_threat_model_of_the_expectation_alone(tmp_path, tried):
    """The code is the same under the others; a variant that cannot play there is tried again."""
    module = victim(
        tmp_path,
        [],
        variants={"wide": {"width": 32}, "declines": {"width": 8}},
        smoke={"threat_model": "poisoning", "expect": {"clean_accuracy": {"min": 0.9}}},
    )
    left = untried(module)
    assert tried[:3] == [f"poisoning/classification{one}" for one in ("", "/declines", "/wide")]
    assert "runs evasion/classification/wide" in left
    assert "evasion/classification" in tried
    assert "evasion/classification/declines" in tried


def test_only_the_expected_variant_of_a_delivering_attack_gets_students_that_learn_to_the_end():
    """Each variant delivers another network, and each student is a training of its own."""
    module = Catalog.load(ROOT).get("attack", "backdoored-teacher", "here")
    smoke, threat = module.manifest.smoke, "supply-chain"
    variants = [None, *module.manifest.variants]
    around = {v: reference_victim(module, threat, "classification", v) for v in variants}
    short = {"name": "small-cnn", "params": {"steps": SHORT}}
    assert around.pop(smoke.variant) == "small-cnn"
    assert len(around) > 5
    assert all(found == short for found in around.values())
    perturbing = Catalog.load(ROOT).get("attack", "pgd", "here")
    assert reference_victim(perturbing, "evasion", "classification", "restarts") == "small-cnn"
