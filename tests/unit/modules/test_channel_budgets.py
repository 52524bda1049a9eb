"""Attacks under a radius for each channel: each keeps all of them and uses all of them."""

import pytest
import torch
from torch import nn

from harness.common.keys import ROOT
from harness.config.manifest_file import load_manifest
from harness.judge.budget import check_perturbation, measure
from harness.runtime.contracts import Budget, NotApplicable, Spec
from tests.support.modules import context, live, module
from tests.support.small_segmenter import SEGMENTATION
from tests.unit.modules.test_feature_attack import perturbed
from tests.unit.modules.test_linear_probe import TEST, held, linear, probed

SPEC = Spec("classification", 4, (3, 8, 8))
FIELDS = {"norm": "linf", "eps": 0.2, "per_channel": (0.1, 0.25, 0.5)}
RADII = (0.02, 0.05, 0.1)
BUDGET = Budget(**FIELDS)
SEARCHES = [
    ("fgsm", None, {}),
    ("pgd", None, {}),
    ("pgd", None, {"restarts": 2}),
    ("apgd", None, {}),
    ("apgd", "dlr-t", {}),
    ("square", None, {}),
    ("random_noise", None, {}),
    ("training-loss", None, {}),
    ("training-loss", "pgd", {}),
    ("transfer", None, {}),
]
LEARNED = [("universal", None), ("malicious-autoencoder", "s")]
OTHERS = {"feature-attack", "linear-probe", "noop"}
"""Attacks with a test of their own, and the one that changes nothing."""


@pytest.fixture
def pictures():
    """Stored pictures away from 0 and 1, their labels, and a network."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    stored = torch.randint(60, 190, (12, 3, 8, 8), generator=generator).to(torch.uint8)
    return stored, network(stored.float() / 255).argmax(1), network.eval()


def is_kept_and_used(stored, found):
    distances = measure(stored.numpy(), found.numpy())
    assert check_perturbation(distances, FIELDS) is None
    assert distances.channels.max(axis=0) == pytest.approx(RADII, rel=0.05)


@pytest.mark.parametrize(("name", "variant", "params"), SEARCHES)
def test_a_search_fills_each_channel_s_radius(pictures, tmp_path, name, variant, params):
    stored, y, network = pictures
    attack = module("attack", name, variant, **params)
    given = (live(network, SPEC), stored.float() / 255, y, None, BUDGET, context(tmp_path, SPEC))
    is_kept_and_used(stored, attack.perturb(*given))


@pytest.mark.parametrize("variant", [None, "published"])
def test_the_searches_of_features_keep_the_radii(pictures, tmp_path, variant):
    stored = pictures[0]
    found = perturbed(tmp_path, FIELDS, variant, stored.float() / 255)
    distances = measure(stored.numpy(), found.numpy())
    assert check_perturbation(distances, FIELDS) is None
    # the published search has radii of its own, 0.023 in each channel
    used = RADII if variant is None else [min(radius, 0.0224) for radius in RADII]
    assert (distances.channels.max(axis=0) > [0.9 * radius for radius in used]).all()


def test_the_probe_fills_each_channel_s_radius(tmp_path):
    found = probed(tmp_path, held(linear()), FIELDS)[1]
    distances = measure(TEST.raw.numpy(), found.numpy())
    assert check_perturbation(distances, FIELDS) is None
    assert (distances.channels.max(axis=0) > [0.9 * radius for radius in RADII]).all()


@pytest.mark.parametrize(("name", "variant"), LEARNED)
def test_what_is_learned_fills_each_channel_s_radius(segmenter, tmp_path, name, variant):
    network, data = segmenter
    ctx = context(tmp_path, SEGMENTATION)
    attack = module("attack", name, variant, steps=60)
    attack.learn(live(network, SEGMENTATION), data, data, BUDGET, ctx)
    found = attack.perturb(None, data.x, None, None, BUDGET, ctx)
    distances = measure(data.raw.numpy(), found.numpy())
    assert check_perturbation(distances, FIELDS) is None
    assert (distances.channels.max(axis=0) > [0.5 * radius for radius in RADII]).all()


def test_inputs_of_other_channels_are_declined(pictures, tmp_path):
    stored, y, network = pictures
    budget = Budget(norm="linf", eps=0.2, per_channel=(0.1, 0.2))
    with pytest.raises(NotApplicable, match="radii of 2 channels"):
        module("attack", "fgsm").perturb(
            live(network, SPEC), stored.float() / 255, y, None, budget, context(tmp_path, SPEC)
        )


def test_every_attack_that_names_such_budgets_is_tried_here():
    manifests = [load_manifest(folder) for folder in sorted((ROOT / "attacks").iterdir())]
    named = {
        one.name for one in manifests if any("per_channel" in each.limits for each in one.requires)
    }
    assert named == {name for name, *_ in (*SEARCHES, *LEARNED)} | OTHERS
