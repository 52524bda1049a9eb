"""Every bundled module leaves what it is given as it is, and returns memory of its own.

The networks of attacks have no parameters here, as they lie in another process in a run.
"""

from dataclasses import replace

import pytest
import torch

from harness.common.keys import ROOT
from harness.config.catalog import Catalog
from harness.config.manifest_parts import matches
from harness.runtime.contracts import Budget, Data, Spec
from harness.runtime.model import LiveModel, freeze
from harness.runtime.tasks import loss_for
from tests.support.comparisons import CPU, SETS, held, ranker
from tests.support.hidden_network import HiddenNetwork
from tests.support.modules import context, module

MANIFESTS = {(kind, name): one.manifest for (kind, name), one in Catalog.load(ROOT).modules.items()}
PICTURES = Spec("classification", 4, (3, 16, 16))
MAPS = Spec("segmentation", 4, (3, 16, 16), void=255)
SPECS = {"classification": (PICTURES, "small-cnn"), "segmentation": (MAPS, "small-segnet")}
LIMITS = {
    "linf": {"norm": "linf", "eps": 0.1},
    "l2": {"norm": "l2", "eps": 1.0},
    "patch": {"patch": 3},
    "pixels": {"pixels": 3},
    "unbounded": {"unbounded": True},
    "minimal_linf": {"norm": "linf", "minimal": True},
    "minimal_l2": {"norm": "l2", "minimal": True},
}
QUICK = {"steps": 4, "iterations": 5, "restarts": 2, "batch": 12, "outer": 1, "inner": 1,
         "epochs": 1, "side": 32, "binary_search_steps": 2, "max_queries": 40}  # fmt: skip


def plays_task(manifest, variant, task):
    """Whether nothing that a variant requires rules a task out."""
    params = manifest.resolve(variant)
    needed = [one.tasks for one in manifest.requires if one.tasks and matches(one.when, params)]
    return all(task in tasks for tasks in needed)


def with_hook(kind, *hooks):
    """Every module with one of the hooks, and each of its variants."""
    found = [
        (name, variant, hook, task)
        for (its_kind, name), manifest in MANIFESTS.items()
        for variant in (None, *manifest.variants)
        for hook in hooks
        for task in manifest.tasks
        if its_kind == kind and hook in manifest.hooks and plays_task(manifest, variant, task)
    ]
    assert found
    return found


def quick(kind, name, variant):
    """A module as the worker constructs it, with few steps."""
    manifest = MANIFESTS[kind, name]
    params = {key: value for key, value in QUICK.items() if key in manifest.params}
    return module(kind, name, variant, **params)


def data_of(task):
    """Twelve examples of a task."""
    random = torch.Generator().manual_seed(3)
    spec, _ = SPECS[task]
    raw = torch.randint(256, (12, *spec.shape), generator=random).to(torch.uint8)
    y = torch.randint(4, (12,) if task == "classification" else (12, 16, 16), generator=random)
    y = y if task == "classification" else y.to(torch.uint8)
    return Data(raw, y, 100 + torch.arange(12), spec, CPU)


def model_of(task, needs, hide):
    spec, name = SPECS[task]
    victim = module("victim", name)
    torch.manual_seed(0)
    network = freeze(victim.build(spec))
    # features are read inside the network, so that a process boundary serves them by itself
    guarded = HiddenNetwork(network) if hide and "features" not in needs else network
    loss, build = loss_for(spec), lambda: victim.build(spec)
    return LiveModel(network, guarded, victim, spec, build, loss, needs)


class Watched:
    """Tensors that a module gets: none may change, and no result may lie in their memory."""

    def __init__(self, *tensors):
        self.tensors, self.copies = tensors, [t.clone() for t in tensors]

    def check(self, *results):
        for tensor, copy in zip(self.tensors, self.copies, strict=True):
            assert torch.equal(tensor, copy)
        places = [t.untyped_storage().data_ptr() for t in (*self.tensors, *results)]
        assert len(set(places)) == len(places)


def budget_of(manifest, params):
    limits = [one.limits for one in manifest.requires if one.limits]
    own = [x for x in limits[0] if all(x in kept for kept in limits)] or ["unbounded"]
    return Budget(**LIMITS[own[0]], edits=4, labels=True, features=True, target=1)


def perturb(name, variant, task, budget, hide, folder):
    """Run ``learn`` and twice ``perturb``; return the results, checked."""
    manifest, attack = MANIFESTS["attack", name], quick("attack", name, variant)
    model, train = model_of(task, manifest.needs, hide), data_of(task)
    if manifest.uses("learn", manifest.resolve(variant)):
        if task == "classification" and name == "apgd":  # weights of label maps only
            train = replace(train, y=train.y[:, None, None].to(torch.uint8))
        watched = Watched(train.raw, train.y, train.ids)
        attack.learn(model, train, train, budget, context(folder, train.spec))
        watched.check()
    train = data_of(task)
    x, y = train.take(torch.arange(12))
    targeted = not any("targeted" not in one.goals for one in manifest.requires if one.goals)
    goals = [None, (y + 1) % 4] if targeted else [None, None]
    watched = Watched(x, y, *(goal for goal in goals if goal is not None))
    found = [
        attack.perturb(model, x, y, goal, budget, context(folder, train.spec)) for goal in goals
    ]
    watched.check(*found)
    return found


@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("attack", "perturb"))
def test_an_attack_keeps_its_hands_off_and_needs_no_parameters(name, variant, hook, task, tmp_path):
    if task == "ranking":  # there the controls perturb nothing
        assert MANIFESTS["attack", name].name in ("noop", "random_noise")
        return
    budget = budget_of(MANIFESTS["attack", name], {})
    hidden = perturb(name, variant, task, budget, True, tmp_path)
    plain = perturb(name, variant, task, budget, False, tmp_path)
    for one, other in zip(hidden, plain, strict=True):
        assert torch.equal(one, other)
        assert one.shape == (12, 3, 16, 16)
        assert not one.requires_grad


@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("attack", "trigger"))
def test_a_trigger_is_put_into_a_copy(name, variant, hook, task, tmp_path):
    attack, train = quick("attack", name, variant), data_of("classification")
    x, _ = train.take(torch.arange(12))
    budget = Budget(patch=3, target=1)
    if "deliver" in MANIFESTS["attack", name].hooks:  # it may learn the trigger
        victim = module("victim", "small-cnn", steps=4)
        network, ctx = victim.build(PICTURES), context(tmp_path, PICTURES)
        attack.deliver(victim, network, train, train, budget, ctx)
    watched = Watched(x)
    watched.check(*(attack.trigger(x, budget, context(tmp_path, PICTURES)) for _ in range(2)))


@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("attack", "poison"))
def test_edits_are_of_the_attack_s_own_memory(name, variant, hook, task, tmp_path):
    attack = quick("attack", name, variant)
    if task == "ranking":
        model, train, _ = held("triplets" if variant == "mask" else "pairs", tmp_path, steps=5)
    else:
        model, train = model_of(task, MANIFESTS["attack", name].needs, True), data_of(task)
    features = task == "classification"
    budget = Budget(
        edits=4, labels=True, features=features, patch=3 if features else None, target=1
    )
    watched = Watched(train.raw, train.y, train.ids)
    edits = attack.poison(train, train, model, budget, context(tmp_path, train.spec))
    watched.check(*(t for t in (edits.ids, edits.x, edits.y) if t is not None))
    assert len(edits.ids) <= 4


@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("defense", "sanitize"))
def test_a_sanitizer_leaves_the_training_set_as_it_is(name, variant, hook, task, tmp_path):
    if task == "ranking":
        train, victim = SETS["pairs"](), ranker("pairs", steps=3)
    else:
        train, victim = data_of(task), quick("victim", SPECS[task][1], None)
    defense = quick("defense", name, variant)
    watched = Watched(train.raw, train.y, train.ids)
    keep = defense.sanitize(victim, victim.build(train.spec), train, context(tmp_path, train.spec))
    watched.check(*(t for t in (keep.mask, keep.y) if t is not None))


def check_network(network, x):
    """Twice in eval mode without a gradient, and once with one."""
    watched = Watched(x)
    with torch.no_grad():
        outputs = [network(x), network(x.flip(0))]
    kept = outputs[0].clone()
    if x.is_floating_point():
        leaf = x.clone().requires_grad_()
        outputs.append(network(leaf))
        (slope,) = torch.autograd.grad(outputs[-1].sum(), leaf)
        assert bool(slope.isfinite().all())
        assert torch.equal(leaf, x)
    watched.check(*outputs)
    assert torch.equal(outputs[0], kept)
    assert torch.allclose(outputs[1].flip(0), kept, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("defense", "guard"))
def test_a_guard_answers_in_memory_of_its_own(name, variant, hook, task, tmp_path):
    spec, victim = SPECS[task]
    torch.manual_seed(0)
    network = freeze(module("victim", victim).build(spec))
    guarded = quick("defense", name, variant).guard(network, context(tmp_path, spec)).eval()
    check_network(guarded, data_of(task).x)


@pytest.mark.parametrize(("name", "variant", "hook", "task"), with_hook("victim", "build"))
def test_a_victim_answers_in_memory_of_its_own(name, variant, hook, task, tmp_path):
    train = SETS["triplets" if variant == "free" else "pairs"]() if task == "ranking" else None
    if name == "ranker" and variant not in ("linear", "free"):
        train = replace(data_of("classification"), spec=Spec("ranking", 2, (3, 16, 16), arity=2))
    train = train or data_of(task)
    if any((one.side_min or 0) > 16 for one in MANIFESTS["victim", name].requires):
        spec = replace(train.spec, shape=(3, 32, 32))
        train = replace(train, raw=train.raw.repeat(1, 1, 2, 2), spec=spec)
    torch.manual_seed(0)
    check_network(freeze(quick("victim", name, variant).build(train.spec)), train.x)
