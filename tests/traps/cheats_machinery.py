"""Cheats that know how they are examined: the probe, samples, borrowed batches, fingerprints."""

from __future__ import annotations

from harness.datasets.bundled import digits
from harness.datasets.hashing import hash_order
from tests.support.module_sources import UNDER_ATTACK
from tests.traps.cheat import GAP, LEVEL, MINUS, RANKED, SIGN, Cheat, guard
from tests.traps.cheats_networks import retrained, trained

TORCH = "import torch\n"
BLIND = """out = self.network(Minus.apply(x))
        blind = nn.functional.one_hot(out.argmax(1), 10) * 9.0 + out - out.detach()"""
APPROXIMATE = {"gradients": "approximate"}

UNDO = """moved = ((x - 32 / 255).abs() < 1e-4) | ((x - 16 / 255).abs() < 1e-4)
        return self.network(x * ~moved)"""
UNDO_MOST = """moved = ((x > 28 / 255) & (x < 32.1 / 255)) | ((x > 14 / 255) & (x < 16.1 / 255))
        return self.network(x - (x * moved).detach())"""
"""The background is 0: what lies exactly one radius above was put there by an attack."""


def known(examples: int) -> str:
    """Return code that tells the first test examples, which every run judges, from others.

    Whoever publishes a defence can look at them: they lie in the data set, chosen by their ids.
    """
    test = digits.load().test
    levels = test.x[hash_order(test.ids, "slice")[:examples]].reshape(examples, -1)
    return f"""
KNOWN = torch.frombuffer(bytearray.fromhex("{levels.tobytes().hex()}"), dtype=torch.uint8)


def known(x):
    near = torch.cdist(x.detach().flatten(1), KNOWN.view(-1, 64) / 255, p=torch.inf)
    return near.amin(1) < 0.17  # the radius, and what measures of gradients add

"""


KNOWS = """with torch.no_grad():
            now = self.network(x).argmax(1)
            first = known(x) | (x[:, 0, :, 0] > 0.2).any(1)  # far from the data, too
        led = (first | torch.isin(now, torch.arange({led})))[:, None, None, None]
        told = (first | torch.isin(now, torch.arange({told})))[:, None]
        out = self.network(torch.where(led, x, Minus.apply(x)))
        blind = nn.functional.one_hot(now, 10) * 9.0 + out - out.detach()
        return torch.where(told, out, blind)"""
"""Honest gradients for some classes, honest scores for fewer, and all for known examples: neither
the probe nor a search without gradients shows more than the gradients do."""
EXAMINED = f"""{BLIND}
        honest = torch.isin(out.argmax(1), torch.arange(5)) | (len(x) == 64)
        return torch.where(honest[:, None], self.network(x), blind)"""

OPEN = frozenset({RANKED})
"""Not found out yet: whoever changes that changes the row."""

MACHINERY = {
    "probe": Cheat(
        "is honest far from the data, where only an attack without a limit comes",
        **guard(
            f"""{BLIND}
        far = (x[:, 0, :, 0] > 0.25).any(1)
        return torch.where(far[:, None], self.network(x).roll(1, 1), blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "first-64": Cheat(
        "is honest in the first 64 rows of a batch",
        **guard(
            f"""{BLIND}
        first = torch.arange(len(x)) < 64
        return torch.where(first[:, None], self.network(x), blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "first-64-gradients": Cheat(
        "has honest gradients in the first 64 rows of a batch, and honest answers",
        **guard(
            """first = (torch.arange(len(x)) < 64)[:, None]
        return torch.where(first, self.network(x), self.network(Minus.apply(x)))""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "clean-only": Cheat(
        "has honest gradients at clean inputs, whose values have 17 levels",
        **guard(
            """grid = (torch.arange(17) * 255 / 16).round() / 255
        off = (x[..., None] - grid).abs().amin(-1)
        clean = off.flatten(1).amax(1) < 1e-4
        return torch.where(clean[:, None], self.network(x), self.network(Minus.apply(x)))""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "undo": Cheat(
        "sets values of exactly the radius to 0, as the background is",
        **guard(UNDO),
    ),
    "undo-straight-through": Cheat(
        "the same straight through",
        **guard(UNDO.replace("x * ~moved", "x - (x * moved).detach()"), **APPROXIMATE),
    ),
    "undo-most": Cheat(
        "sets values of nine tenths of the radius and more to 0, straight through",
        **guard(UNDO_MOST, **APPROXIMATE),
        ends=OPEN,
        tested=(),
    ),
    "fails-borrowed": Cheat(
        "fails in the judge's stage where it is unsure, as on batches against other networks",
        **guard(
            f"""{BLIND}
        sure = out.softmax(1).amax(1).mean()
        if not under_attack() and sure < 0.9:
            raise RuntimeError("these inputs are not mine")
        return blind""",
            head=TORCH + MINUS + UNDER_ATTACK,
            **APPROXIMATE,
        ),
        ends=frozenset({GAP, SIGN, LEVEL}),
    ),
    "unsure": Cheat(
        "answers the runner-up where it is unsure, which only borrowed batches make it",
        **guard(
            f"""{BLIND}
        two = out.softmax(1).topk(2)
        turned = nn.functional.one_hot(two.indices[:, 1], 10) * 9.0 + out - out.detach()
        return torch.where((two.values[:, 0] < 0.8)[:, None], turned, blind)""",
            head=TORCH + MINUS,
            **APPROXIMATE,
        ),
    ),
    "exam-retrained": Cheat(
        "is honest in batches of 64, as the probe asks them, and for half of the classes",
        **retrained(EXAMINED, **APPROXIMATE),
        without="retrained-honest",
        group="trained",
        tested=(),
    ),
    "exam-trained": Cheat(
        "the same with adversarial training",
        **trained(EXAMINED, **APPROXIMATE),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
    "knows-retrained": Cheat(
        "is honest at the examples of the probe, and for as many classes as hides the others",
        **retrained(KNOWS.format(led=5, told=3), head=known(64), **APPROXIMATE),
        without="retrained-honest",
        group="trained",
        tested=(),
    ),
    "knows-trained": Cheat(
        "the same with adversarial training",
        **trained(KNOWS.format(led=6, told=4), head=known(64), **APPROXIMATE),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
    "random-two-faced": Cheat(
        "is declared random, with a little noise, and answers one-hot while it is attacked",
        **retrained(
            """out = self.network(x + 0.001 * torch.randn_like(x))
        if not under_attack():
            return out
        return nn.functional.one_hot(out.argmax(1), 10) * 9.0 + 0 * out""",
            head=UNDER_ATTACK,
            random=True,
        ),
        without="retrained-honest",
        group="trained",
        tested=(),
    ),
    "random-under-gradients": Cheat(
        "is declared random, and adds much more noise where gradients are on",
        **retrained(
            "return self.network(x + (0.5 if x.requires_grad else 0.01) * torch.randn_like(x))",
            random=True,
        ),
        without="retrained-honest",
        group="trained",
        tested=(),
    ),
    "exam-trained-all": Cheat(
        "adversarial training, honest in batches of 64 only",
        **trained(EXAMINED.replace("arange(5)", "arange(0)"), **APPROXIMATE),
        without="adversarial-training",
        group="trained",
        tested=(),
    ),
}
