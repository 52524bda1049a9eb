"""The ranker on pairs and triplets, and what cleans comparisons before it is trained."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torchvision.models import resnet50

from harness.runtime import ranking
from harness.runtime.contracts import Data, Spec
from harness.runtime.model import freeze
from harness.runtime.weight_files import read_tensors
from tests.support.comparisons import CPU, PAIRS, SETS, TRIPLETS, held, pairs, ranker, triplets
from tests.support.modules import context, module


def accuracy(model, data):
    gap = ranking.decisions(ranking.item_outputs(model.predict, data, 64), data.y)
    return float((gap * data.y[:, -2] > 0).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_it_learns(kind, tmp_path):
    model, data, _ = held(kind, tmp_path)
    assert accuracy(model, data) > 0.9


@pytest.mark.parametrize(
    ("objective", "formula"),
    [
        ("square", lambda s, y: 0.5 * (s - y) ** 2),
        ("logistic", lambda s, y: torch.log(1 + torch.exp(-y * s))),
        ("margin", lambda s, y: torch.clamp(1 - y * s, min=0)),
    ],
)
@pytest.mark.parametrize("kind", SETS)
def test_its_losses_are_the_formulas(kind, objective, formula):
    data, victim = SETS[kind](), ranker(kind, objective=objective)
    network = victim.build(data.spec)
    x, y = data.take(torch.arange(len(data)))
    out = network(x)
    if kind == "pairs":
        s = torch.stack([out[u, c] - out[v, c] for u, v, _, c in y.tolist()])
    else:
        s = torch.stack([(out[a] - out[q]).norm() - (out[a] - out[p]).norm()
                         for a, p, q, *_ in y.tolist()])  # fmt: skip
    assert torch.allclose(victim.loss(network, x, y), formula(s, y[:, -2]), atol=1e-5)


def test_a_triplet_with_label_minus_one_is_the_swapped_one():
    data, victim = triplets(), ranker("triplets")
    network, y = victim.build(TRIPLETS), data.y
    swapped = torch.cat([y[:, [0, 2, 1]], -y[:, 3:4], y[:, 4:]], dim=1)
    losses = [victim.loss(network, data.raw, one) for one in (y, swapped)]
    assert torch.allclose(*losses)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["resnet-50", "triplet-resnet-50"])
def test_resnet_50_resizes_normalises_and_has_a_small_head(variant):
    spec = Spec("ranking", 5, (3, 40, 30), arity=3 if variant[0] == "t" else 2)
    victim = module("victim", "ranker", variant, side=32)
    torch.manual_seed(0)
    network = freeze(victim.build(spec))
    assert network.head.weight.shape == (5, 2048)
    assert network.head.weight.std() == pytest.approx(0.01, rel=0.05)
    assert not network.head.bias.any()
    x = torch.rand(2, 3, 40, 30)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    small = F.interpolate(x, (32, 32), mode="bilinear", antialias=True)
    inside = network.body[1]((small - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    assert torch.allclose(network(x), network.head(inside), atol=1e-5)
    assert all(network.get_submodule(path) for path in victim.stages)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["checkpoint", "safetensors"])
def test_existing_weights_are_read_without_their_last_layer(form, tmp_path):
    torch.manual_seed(1)
    theirs = resnet50(weights=None, num_classes=62).state_dict()
    counters = {name for name in theirs if name.endswith("num_batches_tracked")}
    stored = {f"module.{name}": t for name, t in theirs.items() if name not in counters}
    path = tmp_path / f"own.{'safetensors' if form == 'safetensors' else 'pth'}"
    save_file(stored, path) if form == "safetensors" else torch.save({"state_dict": stored}, path)
    victim = module("victim", "ranker", "resnet-50")
    network = victim.build(Spec("ranking", 1, (3, 224, 224), arity=2))
    state = victim.import_weights(read_tensors([path]))
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert sorted(missing) == ["head.bias", "head.weight"]
    assert not unexpected
    assert torch.equal(network.body[1].layer4[0].conv1.weight, theirs["layer4.0.conv1.weight"])


@pytest.mark.slow
def test_another_network_s_tensors_are_refused_in_words():
    with pytest.raises(ValueError, match=r"no ResNet-50"):
        module("victim", "ranker", "resnet-50").import_weights({"conv1.weight": torch.zeros(2)})


def test_validation_scores_every_item_once(tmp_path):
    data, victim = pairs(), ranker("pairs", steps=1, score_batch=7, batch=2)
    network, seen = victim.build(PAIRS), []
    network.register_forward_hook(lambda _, inputs, out: seen.append(len(inputs[0])))
    victim.fit(network, data, data, victim.loss, context(tmp_path, PAIRS))
    first, *validation = seen
    assert first <= 4
    assert max(validation) == 7
    assert sum(validation) == len(data.y[:, :2].unique())


# -- sanitizers ---------------------------------------------------------------------------------


def struck(data, share):
    """A share of the labels turned, and which."""
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(8))
    wrong = torch.zeros(len(data), dtype=torch.bool)
    wrong[rows[: round(share * len(data))]] = True
    y = data.y.clone()
    y[wrong, -2] *= -1
    return replace(data, y=y), wrong


def cleaned(name, data, victim, folder, **params):
    torch.manual_seed(0)
    defence = module("defense", name, **params)
    keep = defence.sanitize(victim, victim.build(data.spec), data, context(folder, data.spec))
    assert keep.mask.dtype == torch.bool
    return keep.mask


def featured():
    """Triplets whose items have features."""
    data = triplets()
    raw = torch.randn(30, 2, generator=torch.Generator().manual_seed(2))
    return Data(raw, data.y, data.ids, replace(TRIPLETS, items=None, shape=(2,)), CPU)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_small_loss_drops_its_share_and_rather_the_wrong(kind, tmp_path):
    data, wrong = struck(SETS[kind](), 0.2)
    mask = cleaned("small-loss", data, ranker(kind), tmp_path, share=0.2)
    assert int((~mask).sum()) == round(0.2 * len(data))
    assert (~mask)[wrong].float().mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETS)
def test_sever_drops_its_share_of_either_sign(kind, tmp_path):
    data, _ = struck(SETS[kind](), 0.1)
    mask = cleaned("sever", data, ranker(kind), tmp_path, share=0.2)
    assert abs(int((~mask).sum()) - 0.2 * len(data)) <= 4
    assert torch.equal(mask, cleaned("sever", data, ranker(kind), tmp_path, share=0.2))


def test_sever_finds_gradients_that_stand_out():
    random = torch.Generator().manual_seed(0)
    defence = module("defense", "sever", share=0.1, rounds=2)
    points = torch.randn(400, 5, generator=random)
    labels = torch.where(points[:, 0] > 0, 1, -1)
    far = torch.arange(400) < 30
    points[far] = torch.tensor([0.0, 0, 0, 0, 6]) + 0.1 * torch.randn(30, 5, generator=random)
    labels[far] = torch.where(torch.arange(30) % 2 == 0, 1, -1)

    class Seeds:
        def generator(self, *dims):
            return torch.Generator().manual_seed(1)

    kept = defence.select(points, labels, Seeds(), 0)
    assert int((~kept).sum()) == pytest.approx(40, abs=2)
    assert (~kept)[far].float().mean() > 0.9


def test_neighbours_vote_on_triplets_with_features(tmp_path):
    data, wrong = struck(featured(), 0.2)
    victim = module("victim", "ranker", "triplet-cnn")
    mask = cleaned("knn-sanitizer", data, victim, tmp_path)
    assert (~mask)[wrong].float().mean() > 0.8
    assert (~mask)[~wrong].float().mean() < 0.2
    relabelled = module("defense", "knn-sanitizer", "relabel").sanitize(
        victim, victim.build(data.spec), data, context(tmp_path, data.spec)
    )
    assert (relabelled.y != data.y).any(1)[wrong].float().mean() > 0.8


def test_a_swapped_triplet_with_the_other_label_votes_alike():
    points = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 1, 2, 1, 0], [3, 4, 5, -1, 0]])
    swapped = y[:, [0, 2, 1, 3, 4]]
    given, other = (ranking.feature_differences(points, one) for one in (y, swapped))
    assert torch.equal(given, -other)
