"""Which stages a cell is made of, by the threat table: the chain from data to predictions."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from harness import datasets
from harness.config.benchmark import Matrix
from harness.config.threat import THREATS, ThreatModel
from harness.planning.entry import Subject
from harness.planning.graph import Graph, Input

T = TypeVar("T")

TRAINING = ("build", "fit", "loss")
"""A defence with one of these hooks trains a network of its own."""

ANSWERING = ("build", "guard", "loss")
"""A defence with one of these hooks changes the network that others hold."""

THREADS = 1
"""Threads of a stage. Part of the plan: 1 and 2 threads differ after two dozen steps."""


@dataclass(frozen=True)
class _Setting:
    """What the chain of one cell needs to know; ``attack`` is ``None`` in the control."""

    matrix: Matrix
    threat: ThreatModel
    victim: Subject
    defense: Subject
    attack: Subject | None
    surrogate: Subject | None
    budget: dict[str, Any]
    seed: int

    @property
    def network(self) -> tuple[Hashable, ...]:
        """What the trained network depends on; most cells share theirs with others."""
        early = self.attack is not None and (self.threat.poisons or self.threat.delivers)
        attack = (self.attack.label, *self.budget.items()) if early and self.attack else ()
        return (self.matrix.name, self.victim.label, self.defense.label, self.seed, *attack)


class Network(NamedTuple):
    """A planned network.

    Attributes:
        key: the stage that has its final weights.
        own: keys that the attack or the defence ran on the way. made: kind → key of those stages.
    """

    key: str
    own: frozenset[str]
    made: dict[str, str]


class Recipes:
    """Adds the stages of cells to a graph; equal stages are added once."""

    def __init__(self, graph: Graph, data_root: Path) -> None:
        self.graph, self.data_root = graph, data_root
        self._digests: dict[str, str] = {}
        self._made: dict[Hashable, Any] = {}

    def cell(
        self,
        matrix: Matrix,
        victim: Subject,
        defense: Subject,
        attack: Subject,
        surrogate: Subject | None,
        budget: dict[str, Any],
        seed: int,
    ) -> tuple[dict[str, str], frozenset[str]]:
        """Stage keys by role, and the keys that the cell's own attack or defence runs."""
        threat = THREATS[matrix.threat_model]
        s = _Setting(matrix, threat, victim, defense, attack, surrogate, budget, seed)
        data = self.data(matrix, "student")
        slice_key = self.slice(matrix, data)
        clean_x = Input(slice_key, "x")
        roles = {"slice": slice_key}
        net, own, made = self._once(s.network, lambda: self.network(s))
        roles |= made | {"network": net}
        goal = self.goal(matrix, slice_key, budget)
        if goal:
            roles["goal"] = goal
        attacked = clean_x
        if threat.at_test and attack.has(threat.at_test):
            attack_key, more = self.attack(s, net, slice_key, goal)
            own |= more
            roles["attack"] = attack_key
            roles["measure"] = self.graph.add(
                "measure",
                {"clean": clean_x, "attacked": Input(attack_key, "attacked")},
                {"keep": matrix.keep.examples},
            )
            attacked = Input(attack_key, "attacked")
        if threat.control:
            control = replace(s, attack=None)
            clean_net = self._once(control.network, lambda: self.network(control)).key
            first = self._on_clean(control, clean_net, clean_x)
            if threat.at_test:
                roles["control_before"] = first
                roles["control_after"] = self.predict(control, clean_net, attacked)
                roles["before"] = self._on_clean(s, net, clean_x)
            else:
                roles["before"] = first
        else:
            roles["before"] = self._on_clean(s, net, clean_x)
        roles["after"] = self.predict(s, net, attacked)
        if threat.poisons and self._task(matrix) == "ranking" and matrix.poisons == "train":
            roles |= self._edited(s, data, net) | {"edits": made["poison"]}
        if attacked != clean_x and self._task(matrix) == "segmentation":
            # what is left of an attack in a picture file; maps of pixels are where it matters
            roles["eight_bit"] = self.predict(s, net, attacked, {"eight_bit": True})
        return roles, own | {roles["after"]}

    def _once(self, what: Hashable, make: Callable[[], T]) -> T:
        """Made for the first cell that asks, remembered for the others."""
        if what not in self._made:
            self._made[what] = make()
        made: T = self._made[what]
        return made

    def _on_clean(self, s: _Setting, net: str, clean_x: Input) -> str:
        return self._once(("clean", *s.network), lambda: self.predict(s, net, clean_x))

    def _task(self, matrix: Matrix) -> str:
        return datasets.get(matrix.data["student"].name).task

    def _edited(self, s: _Setting, data: str, net: str) -> dict[str, str]:
        """What edited comparisons are judged by: two rankers' outputs on the training items.

        One is the attacked one, the other the undefended one that was trained without the attack.
        """
        inputs = {"data": Input(data, "train"), **self._spec(data)}
        rows = self.graph.add("slice", inputs, {"examples": None})
        items = Input(rows, "x")

        def plain() -> str:
            clean = self.clean_network("train", s, data, s.victim)
            return self.predict(s, clean, items, defended=False)

        margins = self._once(("margins", s.matrix.name, s.victim.label, s.seed), plain)
        return {"rows": rows, "fit": self.predict(s, net, items), "margins": margins}

    # -- data ---------------------------------------------------------------------------------

    def data(self, matrix: Matrix, role: str) -> str:
        """The data stage of a role; the attacker's falls back on the public data."""
        entry = matrix.data.get(role) or matrix.data["public"]  # type: ignore[call-overload]
        if entry.name not in self._digests:
            self._digests[entry.name] = datasets.digest(entry.name, self.data_root)
        recipe = {
            "name": entry.name,
            "digest": self._digests[entry.name],
            "train_fraction": float(entry.train_fraction),
        }
        what = ("data", entry.name, recipe["train_fraction"])
        return self._once(what, lambda: self.graph.add("data", {}, recipe))

    def slice(self, matrix: Matrix, data: str) -> str:
        """The test examples that cells are judged on."""
        recipe = {"examples": matrix.eval_subset.examples}
        inputs = {"data": Input(data, "test"), "spec": Input(data, "")}
        return self._once(("slice", matrix.name), lambda: self.graph.add("slice", inputs, recipe))

    def goal(self, matrix: Matrix, slice_key: str, budget: dict[str, Any]) -> str | None:
        """Targets per example: the matrix's goal, or the backdoor's target; none if untargeted."""
        chosen = budget.get("target", matrix.goal.targeted)
        if chosen is None or chosen == "least_likely":
            return None
        inputs = {"slice": Input(slice_key, "")}
        return self._once(
            ("goal", slice_key, chosen), lambda: self.graph.add("goal", inputs, {"goal": chosen})
        )

    # -- networks -----------------------------------------------------------------------------

    def network(self, s: _Setting) -> Network:
        """The defended, trained, repaired network of a cell, or of its control."""
        data = self.data(s.matrix, "student")
        made: dict[str, str] = {}
        start = None
        if "public" in s.matrix.data:
            start = self.public(s, made)
        elif s.victim.starts:
            start = made["import"] = self.imported(s, data, s.victim)
        if s.threat.delivers and s.attack is not None:
            assert start is not None
            start = made["deliver"] = self.deliver(s, start)
        train = Input(data, "train")
        if s.threat.poisons and s.matrix.poisons == "train" and s.attack is not None:
            train = self.poisoned(s, data, made)
        if s.defense.has("sanitize") and "sanitize" in s.threat.defense_hooks:
            keep = made["sanitize"] = self._stage(
                "sanitize",
                s,
                {"train": train, **self._start(start), **self._spec(data)},
                {"victim": s.victim, "defense": s.defense},
            )
            sanitized = self.apply(s, data, train, Input(keep, "keep"), None)
            train = Input(sanitized, "train")
        trains = s.defense.has(*TRAINING)
        given = None
        if s.victim.given and start is None:
            given = net = made["import"] = self.imported(s, data, s.victim)
        if given is None or trains:
            net = made["train"] = self._stage(
                "train",
                s,
                {
                    "train": train,
                    "val": Input(data, "val"),
                    **self._start(start),
                    **({} if given is None else {"initial": Input(given, "")}),
                    **self._spec(data),
                },
                {"victim": s.victim, **({"defense": s.defense} if trains else {})},
            )
        if s.defense.has("repair") and "repair" in s.threat.defense_hooks:
            net = made["repair"] = self._repair(s, data, net)
        ours = {"import"} if trains else {"import", "train"}
        own = frozenset(key for kind, key in made.items() if kind not in ours)
        return Network(net, own, made)

    def poisoned(self, s: _Setting, data: str, made: dict[str, str]) -> Input:
        """The training set of ``data`` after the attack's edits."""
        edits = made["poison"] = self.poison(s, data)
        made["apply"] = self.apply(s, data, Input(data, "train"), Input(edits, "edits"), s.budget)
        return Input(made["apply"], "train")

    def _repair(self, s: _Setting, data: str, net: str) -> str:
        clean = self.graph.add(
            "clean",
            {"data": Input(data, "val"), "spec": Input(data, "")},
            {"examples": s.matrix.clean},
        )
        return self._stage(
            "repair",
            s,
            {"weights": Input(net, ""), "clean": Input(clean, "clean"), **self._spec(data)},
            {"victim": s.victim, "defense": s.defense},
        )

    def public(self, s: _Setting, made: dict[str, str]) -> str:
        """The public network: the victim on public data, which the edits may change."""
        data = self.data(s.matrix, "public")
        edited = s.threat.poisons and s.matrix.poisons == "public" and s.attack is not None
        train = self.poisoned(s, data, made) if edited else None
        return self.clean_network("public", s, data, s.victim, train)

    def clean_network(
        self, kind: str, s: _Setting, data: str, victim: Subject, train: Input | None = None
    ) -> str:
        """A victim trained without any defence, or with the weights that it comes with."""
        if victim.given:
            return self.imported(s, data, victim)
        inputs = {
            "train": train or Input(data, "train"),
            "val": Input(data, "val"),
            **self._begun(s, data, victim),
            **self._spec(data),
        }
        return self._stage(kind, s, inputs, {"victim": victim})

    def imported(self, s: _Setting, data: str, victim: Subject) -> str:
        """A victim with existing weights; no seed plays a part in them.

        Of weights to start from, the head is left out when a network is made from them.
        """
        assert victim.weights is not None
        file = self.graph.add("weights", {}, victim.weights)
        inputs = {"file": Input(file, "file"), **self._spec(data)}
        options = {"start": True} if victim.starts else None
        return self._stage(
            "import", replace(s, seed=0), inputs, {"victim": victim}, options=options
        )

    def deliver(self, s: _Setting, start: str) -> str:
        """The attacker's teacher, trained from the public network on the attacker's data."""
        assert s.attack is not None
        data = self.data(s.matrix, "attacker")
        inputs = {
            "train": Input(data, "train"),
            "val": Input(data, "val"),
            "start": Input(start, ""),
            **self._spec(data),
        }
        return self._stage(
            "deliver", s, inputs, {"victim": s.victim, "attack": s.attack}, budget=s.budget
        )

    def poison(self, s: _Setting, data: str) -> str:
        """Proposed edits to a training set."""
        assert s.attack is not None
        inputs = {"train": Input(data, "train"), "val": Input(data, "val"), **self._spec(data)}
        roles = {"attack": s.attack}
        if s.matrix.knowledge.kind != "none":
            granted = s.surrogate or s.victim
            inputs["knowledge"] = Input(self.clean_network("train", s, data, granted), "")
            inputs |= self._begun(s, data, granted)
            roles["victim"] = granted
        return self._stage("poison", s, inputs, roles, budget=s.budget)

    def apply(
        self, s: _Setting, data: str, train: Input, changes: Input, budget: dict[str, Any] | None
    ) -> str:
        """The harness applies edits or keeps; over-budget edits end here."""
        inputs = {"train": train, "changes": changes, **self._spec(data)}
        return self.graph.add("apply", inputs, {"budget": budget})

    # -- attack and predict -------------------------------------------------------------------

    def attack(
        self, s: _Setting, net: str, slice_key: str, goal: str | None
    ) -> tuple[str, frozenset[str]]:
        """The stage that makes attacked inputs, with what it learned before."""
        assert s.attack is not None
        assert s.attack.module is not None
        assert s.threat.at_test
        manifest = s.attack.module.manifest
        student = self.data(s.matrix, "student")
        inputs: dict[str, Input] = {}
        roles: dict[str, Subject] = {"attack": s.attack}
        model_data = student
        if s.threat.access in ("victim", "oracle"):
            inputs["weights"] = Input(net, "")
            roles |= {"victim": s.victim} | self._answering(s)
        elif s.threat.access == "source":
            if s.surrogate is not None:
                roles["victim"] = s.surrogate
                source = self.clean_network("train", s, student, s.surrogate)
            else:
                roles["victim"] = s.victim
                model_data = self.data(s.matrix, "public")
                source = self.clean_network("public", s, model_data, s.victim)
            inputs["weights"] = Input(source, "")
        inputs |= self._spec(model_data)
        own: set[str] = set()
        options = {
            "access": s.threat.access,
            "no_model_access": manifest.no_model_access,
            "hook": s.threat.at_test,
        }
        if s.attack.has("learn") and "learn" in s.threat.optional:
            learn_inputs = inputs | {
                "train": Input(model_data, "train"),
                "val": Input(model_data, "val"),
            }
            learned = self._stage("learn", s, learn_inputs, roles, budget=s.budget, options=options)
            own.add(learned)
            inputs = inputs | {"state": Input(learned, "state")}
        for kind in ("poison", "deliver"):
            if s.attack.has(kind) and s.threat.at_test == "trigger":
                state = self._earlier(s, kind)
                if state is not None:
                    inputs = inputs | {"state": Input(state, "state")}
        inputs["slice_x"] = Input(slice_key, "x")
        if s.threat.labels and not manifest.no_model_access:
            inputs["slice_y"] = Input(slice_key, "y")
            if goal:
                inputs["goal"] = Input(goal, "goal")
        options = options | {
            "batch": s.matrix.eval_subset.batch,
            "least_likely": s.matrix.goal.targeted == "least_likely",
        }
        key = self._stage("attack", s, inputs, roles, budget=s.budget, options=options)
        return key, frozenset({*own, key})

    def _earlier(self, s: _Setting, kind: str) -> str | None:
        """The stage in which the attack wrote the state that its trigger reads."""
        if kind == "poison" and s.threat.poisons:
            role = "public" if s.matrix.poisons == "public" else "student"
            return self.poison(s, self.data(s.matrix, role))
        if kind == "deliver" and s.threat.delivers:
            public = self.clean_network("public", s, self.data(s.matrix, "public"), s.victim)
            return self.deliver(s, public)
        return None

    def predict(
        self,
        s: _Setting,
        net: str,
        x: Input,
        options: dict[str, Any] | None = None,
        *,
        defended: bool = True,
    ) -> str:
        """Outputs on inputs without labels, of the victim's or the defence's network."""
        data = self.data(s.matrix, "student")
        defense = self._answering(s) if defended else {}
        return self._stage(
            "predict",
            s,
            {"weights": Input(net, ""), "x": x, **self._spec(data)},
            {"victim": s.victim} | defense,
            options={"batch": s.matrix.eval_subset.batch} | (options or {}),
        )

    def _answering(self, s: _Setting) -> dict[str, Subject]:
        return {"defense": s.defense} if s.defense.has(*ANSWERING) else {}

    def _spec(self, data: str) -> dict[str, Input]:
        return {"spec": Input(data, "")}

    def _begun(self, s: _Setting, data: str, victim: Subject) -> dict[str, Input]:
        """The weights that a victim's training starts from, where it has some."""
        return self._start(self.imported(s, data, victim) if victim.starts else None)

    def _start(self, start: str | None) -> dict[str, Input]:
        return {} if start is None else {"start": Input(start, "")}

    def _stage(
        self,
        kind: str,
        s: _Setting,
        inputs: dict[str, Input],
        roles: dict[str, Subject],
        budget: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> str:
        modules = {role: subject.ref for role, subject in roles.items()}
        for subject in roles.values():
            if subject.adversary is not None and kind == "train":
                modules["adversary"] = subject.adversary.ref
        recipe = {
            "modules": modules,
            "seed": s.seed,
            "threads": THREADS,
            "budget": budget or {},
            "options": options or {},
        }
        return self.graph.add(kind, inputs, recipe)
