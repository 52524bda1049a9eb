"""Networks that answer: none reaches our memory, and the side that errs is named."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from harness.runtime.contracts import OutputError, Spec
from harness.runtime.worker.network_answers import GuardedNetwork
from harness.runtime.worker.stages.inference import SAMPLE_BATCH, SAMPLED, other_batches

SPEC = Spec("classification", 3, (1, 2, 2))


class Net(nn.Module):
    """A linear network with an oddity in its forward pass."""

    def __init__(self, before=None, after=None):
        super().__init__()
        self.before, self.after = before or (lambda x: x), after or (lambda out: out)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.after(self.linear(self.before(x).flatten(1)))


class Guard(nn.Module):
    def __init__(self, network, before=None, after=None):
        super().__init__()
        self.before, self.after = before or (lambda x: x), after or (lambda out: out)
        self.network = network

    def forward(self, x):
        return self.after(self.network(self.before(x)))


def round_in_place(x):
    return x.mul_(7).round_().div_(7)


def buffered():
    """Answers in one buffer, allocated once."""
    kept = torch.empty(100, 3)

    def write(out):
        kept[: len(out)] = out
        return kept[: len(out)]

    return write


def make(victim=Net, guard=None, hooks=("guard",)):
    """A job whose networks are made by these functions, and its network."""
    hooks = hooks if guard else ()
    torch.manual_seed(0)
    network = victim()
    job = SimpleNamespace(
        spec=SPEC,
        called=None,
        hook_seconds=0.0,
        has=lambda role, hook: role == "defense" and hook in hooks,
        guard=lambda net: guard(net) if guard else net,
    )
    return job, GuardedNetwork(job, network, victim)


@pytest.fixture
def x():
    return torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1))


def half(out):
    return out.half()


def squeeze(out):
    return out.squeeze()


IN_PLACE = "the network changed its inputs in place; work on a copy (x.clone())"
HALF = "the network returned float16, expected float32; return outputs.float()"
SQUEEZED = (
    "the network returned shape [3] for 1 inputs, expected [1, 3]; "
    "keep the first dimension, also for one input"
)


def guarded(**oddity):
    return lambda network: Guard(network, **oddity)


def odd(**oddity):
    return lambda: Net(**oddity)


@pytest.mark.parametrize(
    ("victim", "guard", "side", "said"),
    [
        (odd(before=round_in_place), None, "victim", IN_PLACE),
        (odd(before=round_in_place), guarded(), "victim", IN_PLACE),
        (Net, guarded(before=round_in_place), "defense", IN_PLACE),
        (Net, guarded(before=lambda x: x.data.zero_()), "defense", IN_PLACE),
        (odd(after=half), None, "victim", HALF),
        (odd(after=half), guarded(), "victim", HALF),
        (Net, guarded(after=half), "defense", HALF),
        (odd(after=squeeze), None, "victim", SQUEEZED),
        (odd(after=squeeze), guarded(), "victim", SQUEEZED),
        (Net, guarded(after=squeeze), "defense", SQUEEZED),
    ],
)
def test_the_side_that_errs_is_named(x, victim, guard, side, said):
    job, network = make(victim, guard)
    kept = x.clone()
    with pytest.raises(OutputError) as caught:
        network.answer(x[:1])
    word = {"victim": "victim", "defense": "defence"}[side]
    assert str(caught.value) == f"{word}: {said}"
    assert job.called == side
    assert torch.equal(x, kept)


def test_a_guard_that_bends_the_victim_it_holds_answers_for_it(x):
    def bend(network):
        network.before = round_in_place
        return Guard(network)

    job, network = make(Net, bend)
    with pytest.raises(OutputError, match=r"^defence: the network changed its inputs"):
        network.answer(x)
    assert job.called == "defense"


def test_a_network_that_the_defence_built_is_the_defence_s(x):
    job, network = make(odd(before=round_in_place), guarded(), hooks=("build", "guard"))
    with pytest.raises(OutputError, match=r"^defence: the network changed its inputs"):
        network.answer(x)
    assert job.called == "defense"


def test_a_write_of_another_thread_of_time_reaches_nothing(x):
    """A guard that keeps its inputs, and writes into them in the next pass."""
    kept = []

    def late(batch):
        for old in kept:
            old.fill_(0.5)
        kept.append(batch)
        return batch.clone()

    _, network = make(Net, guarded(before=late))
    clean = x.clone()
    answers = [network.answer(x), network.answer(x)]
    assert torch.equal(x, clean)
    assert torch.equal(*answers)


@pytest.mark.parametrize("side", ["victim", "guard"])
def test_answers_in_one_buffer_stay_as_they_were(x, side):
    """F2: all but the last batch's predictions were overwritten."""
    _, honest = make(Net, guarded())
    write = buffered()
    _, network = make(*(
        (odd(after=write), guarded()) if side == "victim" else (Net, guarded(after=write))
    ))  # fmt: skip
    found = [network.answer(one) for one in x.split(2)]
    assert torch.equal(torch.cat(found), torch.cat([honest.answer(one) for one in x.split(2)]))


def test_inputs_that_are_not_a_number_are_no_change(x):
    x[0, 0, 0, 0] = torch.nan
    _, network = make(Net, guarded())
    assert not torch.isfinite(network.answer(x)[0]).any()


def test_numbers_of_items_are_inputs_too():
    items, torch_seed = torch.arange(6), torch.manual_seed(0)
    assert torch_seed
    job, _ = make()
    job.spec = Spec("ranking", 3, (), items=9, arity=3)
    network = GuardedNetwork(job, nn.Embedding(9, 3), Net)
    assert network.answer(items).shape == (6, 3)
    assert network.answer(items[:0]).shape == (0, 3)


@pytest.mark.parametrize("examples", [1, 2, 40, 1000])
@pytest.mark.parametrize("values", [64, 3 * 224 * 224, 3 * 1024 * 2048])
def test_a_sample_is_predicted_in_batches_of_other_sizes_and_alone(examples, values):
    parts = other_batches(examples, values)
    assert max(len(rows) for rows in parts) <= SAMPLE_BATCH
    rows = torch.cat(parts).tolist()
    sampled = set(rows)
    assert sampled == set(range(len(sampled)))
    assert min(examples, 2) <= len(sampled) <= min(examples, SAMPLED)
    assert rows[: len(sampled)] == sorted(sampled, reverse=True)
    assert [len(one) for one in parts][-min(3, len(sampled)) :] == [1] * min(3, len(sampled))
