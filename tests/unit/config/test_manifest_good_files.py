"""Manifests: the example of the architecture is read, and its parameters are resolved."""

from pathlib import Path

import pytest

from harness.common.errors import UserErrors
from harness.config.manifest import HOOK_NAMES, Manifest
from harness.config.manifest_file import load_manifest
from harness.runtime.hooks import HOOKS
from tests.support.manifest_files import PGD, VICTIM, write

pytestmark = pytest.mark.usefixtures("root")


def test_the_example_of_the_architecture():
    manifest = load_manifest(write(PGD))
    assert (manifest.ref, manifest.file, manifest.class_name) == ("attacks/pgd", "attack.py", "PGD")
    assert manifest.tasks == ("classification", "segmentation")
    assert manifest.reference.year == 2018
    assert manifest.gradients == "exact"
    assert manifest.plays("evasion")
    assert not manifest.plays("backdoor")
    assert manifest.smoke.expect["attack_success_rate"].min == 0.3
    assert manifest.where(("params", "rate")) == "attacks/pgd/manifest.yaml:14:3: params.rate"
    assert load_manifest(Path("attacks/pgd/manifest.yaml")) == manifest


def test_a_victim_that_names_no_threat_model_plays_all():
    manifest = load_manifest(write(VICTIM, "victims/pgd"))
    assert manifest.threat_models == ()
    assert manifest.plays("supply-chain")


def test_a_defence_without_hooks_is_the_control():
    text = VICTIM.replace("victim\n", "defense\n").replace("name: pgd", "name: none")
    text = text.replace("[build, recipe]", "[]").replace("offers: [loss, features]\n", "")
    path = write(text + "threat_models: [evasion]\n", "defenses/none")
    assert load_manifest(path).hooks == ()


def test_hook_names_equal_the_runtime_table():
    assert {kind: tuple(names) for kind, names in HOOKS.items()} == HOOK_NAMES


def test_reading_a_manifest_imports_no_torch():
    import subprocess
    import sys

    modules = "harness.config.manifest, harness.config.benchmark"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_resolve_fills_in_defaults_then_variant_then_params():
    manifest = load_manifest(write(PGD))
    plain = {"steps": 20, "rate": 0.25, "start": "random", "restart": False}
    assert manifest.resolve() == plain
    assert manifest.resolve("pgd-100") == plain | {"steps": 100}
    assert manifest.resolve("pgd-100", {"steps": 7, "rate": 2}) == plain | {"steps": 7, "rate": 2.0}
    assert {type(v) for v in manifest.resolve(None, {"rate": 2}).values()} == {
        int,
        float,
        str,
        bool,
    }


@pytest.mark.parametrize(
    ("variant", "params", "line"),
    [
        ("pgd-10", {}, 'variant: attacks/pgd has no variant "pgd-10"; did you mean "pgd-100"?'),
        (None, {"step": 1}, 'params.step: attacks/pgd has no parameter "step"; did you mean'),
        (None, {"steps": 0}, "params.steps: expected a whole number from 1 up to 1000, found 0"),
        (None, {"steps": True}, "params.steps: expected a whole number from 1 up to 1000, found"),
        (None, {"steps": 2.0}, "params.steps: expected a whole number from 1 up to 1000, found"),
        (None, {"rate": float("nan")}, "params.rate: expected a finite number"),
        (None, {"rate": -1}, "params.rate: expected a number from 0, found -1"),
        (None, {"restart": 1}, "params.restart: expected true or false, found 1"),
        (None, {"start": "no"}, 'params.start: expected one of "random", "clean", found "no"'),
        (None, {"eps": 0.1}, "params.eps: eps is limited by the threat model"),
    ],
)
def test_resolve_refuses_what_the_constructor_would_not_expect(variant, params, line):
    manifest = load_manifest(write(PGD))
    with pytest.raises(UserErrors) as caught:
        manifest.resolve(variant, params)
    assert str(caught.value).startswith(f"attacks/pgd: {line}")


def test_a_manifest_is_frozen_and_checked_however_it_is_made():
    manifest = load_manifest(write(PGD))
    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "x"
    with pytest.raises(ValueError, match="has no hook"):
        Manifest.model_validate(manifest.model_dump() | {"hooks": ("x",)})
