"""Attacks at the border, each against an honest guard, and attacks with a query oracle."""

from __future__ import annotations

from tests.support.module_sources import PERTURB
from tests.traps.border_trap import HANG, MODULE, TEN_GIGABYTES, VIOLATION, BorderTrap
from tests.traps.spies import SPY

SEARCH = """x_adv = random_start(x, budget.norm, budget.eps, torch.Generator().manual_seed(1))
        for _ in range(4):
            leaf = x_adv.clone().requires_grad_(True)
            (g,) = torch.autograd.grad(model.loss(leaf, y).sum(), leaf)
            x_adv = project(x_adv + budget.eps / 2 * g.sign(), x, budget.norm, budget.eps)
        """
IMPORTS = (
    "from harness.runtime.gradients import project, random_start\n"
    "from harness.runtime.worker.network_protocol import Message\nimport gc\nimport os\n"
)


def attack(before: str = "", after: str = "return x_adv") -> str:
    """Return an attack that searches as the honest one does, with statements around it."""
    start = f"{before}\n        " if before else ""
    return IMPORTS + PERTURB.format(start + SEARCH + after)


def instead(body: str) -> str:
    """Return an attack of these statements alone."""
    return IMPORTS + PERTURB.format(body)


KIND = "type(model)"
CHANNEL = "model._connection._channel"

ATTACKS: dict[str, BorderTrap] = {
    "looks": BorderTrap(
        "looks for the network's weights, files and processes",
        SPY + attack("""for path in files("network.safetensors", "defense.py", "victim.py"):
            if not path.startswith("/gauntlet/harness"):
                found(path)
        for number in filter(str.isdigit, os.listdir("/proc")):
            if int(number) != os.getpid():
                for name in ("mem", "environ", "maps"):
                    attempt(lambda: open(f"/proc/{number}/{name}", "rb").read(1))
        if any(isinstance(one, torch.nn.Parameter) for one in gc.get_objects()):
            found("parameters")"""), equal=True, local=False,
    ),
    "blind": BorderTrap(
        "looks for a model, labels and weights although it said that it needs none",
        SPY + instead("""assert model is None and y is None
        for path in files("network.safetensors", "y.npy", "goal.npy"):
            found(path)
        return x"""),
        fields={"no_model_access": True, "needs": []}, local=False,
    ),
    "many-rows": BorderTrap(
        "wants to fill the network's memory by one pass of many rows",
        instead("model.predict(x[:1].expand(1_200_000, *x.shape[1:])); return x"),
        VIOLATION, "a request about 1200000 inputs",
    ),
    "buffered": BorderTrap(
        "returns every batch in one buffer, honestly",
        attack("""if getattr(self, "kept", None) is None:
            self.kept = torch.empty(20, *x.shape[1:])""",
               "self.kept[: len(x)] = x_adv\n        return self.kept[: len(x)]"),
        equal=True,
    ),
    "sets-attributes": BorderTrap(
        "sets attributes of the network that it holds, and of its modules",
        attack("""model.module.network = torch.nn.Identity()
        model.module.kept = x
        model.module.train()
        model.module.add_module("more", torch.nn.Linear(1, 1))
        for one in model.module.parameters():
            one.data.zero_()"""),
        equal=True,
    ),
    "patches-forward": BorderTrap(
        "replaces the forward pass of the network that it holds",
        attack(after="model.module.forward = lambda x: torch.zeros(len(x), 10)\n"
               "        return x_adv"),
        equal=True,
    ),
    "patches-checks": BorderTrap(
        "replaces the harness's own checks and its saving in its process",
        attack("""import hashlib
        import harness.runtime.worker.stages.attacks as stage
        stage.check_tensor = lambda value, *a: value
        hashlib.sha256 = hashlib.md5"""),
        equal=True,
    ),
    "shows-others": BorderTrap(
        "shows the network other inputs than it returns",
        attack(f"show = {KIND}.show; {KIND}.show = lambda self, x: show(self, x * 0)"),
        VIOLATION, "the attack returned other inputs than it showed the network",
    ),
    "shows-clean": BorderTrap(
        "returns other inputs than it has shown",
        attack("""import harness.runtime.worker.arrays as arrays
        arrays.np.ascontiguousarray = lambda array: (array - 1e-3).clip(0, 1)"""),
        VIOLATION, "the attack returned other inputs than it showed the network",
    ),
    "shows-nothing": BorderTrap(
        "shows nothing",
        attack(f"{KIND}.show = lambda self, x: None"), VIOLATION, "expected 0",
    ),
    "shows-all-late": BorderTrap(
        "shows nothing and leaves the protocol",
        attack(f"{KIND}.show = {KIND}.begin = lambda self, x: None"), VIOLATION,
        "the attack showed the network 0 of the 40 inputs",
    ),
    "shows-twice": BorderTrap(
        "shows a batch before it returns it",
        attack(after="model.show(x_adv)\n        return x_adv"), VIOLATION,
        "a batch of 0 rows ends with 20",
    ),
    "begins-twice": BorderTrap(
        "begins each batch twice",
        attack("model.begin(torch.arange(20) + (20 if hasattr(self, 'on') else 0)); self.on = 1"),
        equal=True,
    ),
    "begins-others": BorderTrap(
        "begins a batch of other rows",
        attack("model.begin(torch.arange(7, 27))"), VIOLATION,
        "a batch begins at row 7, expected 0",
    ),
    "begins-fewer": BorderTrap(
        "begins a batch of fewer rows",
        attack("model.begin(torch.arange(5) + (20 if hasattr(self, 'on') else 0)); self.on = 1"),
        VIOLATION, "a batch of 5 rows ends with 20",
    ),
    "draws-goals": BorderTrap("asks for goals that nobody has",
                              instead("model.goal(); return x"), VIOLATION, "goals"),
    "queries": BorderTrap(
        "asks as a query attack does",
        instead("model._queries = True; model.predict(x); return x"), VIOLATION,
        "queries are not counted here",
    ),
    "ungranted": BorderTrap(
        "asks for what its manifest does not name",
        instead("model._needs.add('features'); model.features(x); return x"), VIOLATION,
        "the attack used model.features",
    ),
    "weights": BorderTrap(
        "takes the parameters that it was not granted",
        instead("model._needs.add('weights'); model.undefended.state_dict(); return x"), MODULE,
        "AssertionError",
    ),
    "hides-a-breach": BorderTrap(
        "breaks the protocol and catches the refusal",
        attack("""try:
            model.request(Message("features"), [x])
        except Exception:
            pass"""), VIOLATION, "the attack used model.features",
    ),
    "graphs": BorderTrap(
        "keeps a thousand forward passes",
        instead("""leaf = x.clone().requires_grad_(True)
        kept = [model.module(leaf) for _ in range(1000)]
        return x"""), VIOLATION, "keeps more than 64 forward passes",
    ),
    "wrong-gradients": BorderTrap(
        "brings gradients of another size",
        instead("""out = model.module(x.clone().requires_grad_(True))
        model.request(Message("backward", graph=1, first=1), [x])
        return x"""), VIOLATION, "gradients do not fit",
    ),
    "forwards-for-ever": BorderTrap(
        "asks until its time is up",
        instead("while True: model.module(x)"), "timeout", "limit of 6 s", fields=HANG,
    ),
    "ten-gigabytes": BorderTrap(
        "sends ten gigabytes",
        instead("model.module(x[:1].expand(40_000_000, *x.shape[1:])); return x"), VIOLATION,
        "at most",
    ),
    "describes-terabytes": BorderTrap(
        "describes a tensor that its file does not hold",
        instead(f"""model._connection._placed = {TEN_GIGABYTES}
        model.request(Message("forward"))"""), VIOLATION, "a message of more than",
    ),
    "babbles": BorderTrap("sends noise", instead(
        f"{CHANNEL}.sendall(b'\\xff' + bytes(98)); return x"), VIOLATION, "a malformed message"),
    "floods": BorderTrap("floods the broker", instead(
        f"{CHANNEL}.sendall(bytes([10]) * (64 << 20)); return x"), VIOLATION,
        fields=HANG),
    "hangs-up": BorderTrap("closes the channel in the middle", instead(
        f"model.predict(x); {CHANNEL}.close(); return x"), MODULE, "OSError"),
    "half-a-message": BorderTrap("ends in the middle of a message", instead(
        f"{CHANNEL}.sendall(b'\\x0d'); os._exit(0)"), MODULE, "reported no outcome"),
    "forks": BorderTrap(
        "lets a child ask on the same channel",
        attack("""if os.fork() == 0:
            model.predict(x * 0)
            os._exit(0)
        os.wait()"""), VIOLATION,
    ),
    "leaves-a-child": BorderTrap(
        "leaves a child that holds the channel and asks on",
        instead(f"""if os.fork() == 0:
            while True:
                model.predict(x * 0)
        {CHANNEL}.close()
        return x"""), MODULE, "OSError",
    ),
    "sends-nan": BorderTrap(
        "sends inputs that are no pictures, on which an honest guard fails",
        attack("model.predict(x * torch.nan)"), VIOLATION, "inputs that are not finite",
    ),
    "sends-numbers": BorderTrap(
        "sends values far outside of pictures, on which an honest guard fails",
        attack("model.predict(x * 1e9 + 1e9)"), VIOLATION, "the network failed on inputs",
    ),
}  # fmt: skip
"""Name → an attack with white-box access to an honest guard."""

POOLED = """seeded = [torch.Generator().manual_seed(n) for n in range(3)]
        noise = [torch.rand(x.shape, generator=one) * 2 - 1 for one in seeded]
        best, last = x.clone(), torch.full((len(x),), torch.inf)
        def ask(out, rows):
            out = (out[0], project(out[1], x[out[0]], budget.norm, budget.eps))
            scores = model.predict(out[1], rows).softmax(1)
            right = scores.gather(1, y[out[0], None])[:, 0]
            better = right < last[out[0]]
            best[out[0][better]], last[out[0][better]] = out[1][better], right[better]
        every = torch.arange(len(x))
        {}
        return best"""
HONEST_QUERIES = "for one in noise: ask((every, x + budget.eps * one.sign()), every)"
QUERIES: dict[str, BorderTrap] = {
    "pools": BorderTrap(
        "names other rows, so that hard examples get their queries too",
        IMPORTS
        + PERTURB.format(
            POOLED.format(
                HONEST_QUERIES
                + """
        try:
            for turn in range(1, 20):
                rows = (every + turn) % len(x)
                ask((every, x + budget.eps * noise[turn % 3].flip(-1).sign()), rows)
        except Exception as error:
            assert type(error).__name__ == "QueryRefused", error"""
            )
        ),
        equal=True,
    ),
    "pools-first": BorderTrap(
        "spends the queries of all rows on one",
        IMPORTS
        + PERTURB.format(
            POOLED.format("""
        try:
            for turn in range(20):
                ask((every[:1], x[:1] + budget.eps * noise[turn % 3][:1].sign()), every[:1] + turn)
        except Exception as error:
            assert type(error).__name__ == "QueryRefused", error
            assert turn == 3, turn""")
        ),
    ),
    "far": BorderTrap(
        "asks outside of the ball around every example",
        instead("model.predict(torch.ones_like(x) * 0.5); return x"),
        VIOLATION,
        "a query lies outside the budget",
    ),
    "outside-rows": BorderTrap(
        "names rows that are not in its batch",
        instead("model.predict(x, torch.arange(len(x)) + 20); return x"),
        VIOLATION,
        "a query names rows outside its batch",
    ),
}
"""Name → an attack with a query oracle, ``none`` as the defence."""
