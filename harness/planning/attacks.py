"""Stages that make attacked inputs, by what the threat model grants, and predictions on inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.networks import NetworkStages
from harness.planning.options import AccessOptions, AttackOptions, PredictOptions, VotesOptions
from harness.planning.recipe import DecideRecipe, MeasureRecipe
from harness.planning.resolved_entry import ResolvedEntry
from harness.planning.shared_stages import SharedStages, spec, start

SERVED = ("victim", "oracle")
"""Accesses of an attack to the defended network, which answers in a service of its own."""

KEPT = 20
"""Noisy copies whose outputs are kept, for a comparison with what an attack was given. They are
there anyway, and with fewer the comparison finds a difference of 1 % by chance."""

ANSWERING_HOOKS = ("build", "guard", "loss")
"""A defence with one of these hooks changes the network that others hold."""


class Grant(NamedTuple):
    """What an attack holds at test time.

    Attributes:
        data: data stage whose shapes and classes the network has.
        weights: the network, or nothing.
        roles: the modules that build it.
    """

    data: str
    weights: dict[str, Input]
    roles: dict[str, ResolvedEntry]


class Examples(NamedTuple):
    """Test examples that an attack gets.

    Attributes:
        x: inputs.
        y: labels.
        goal: labels to reach, or ``None``.
        rows: places of the examples in the eval subset, where they are a part of it; or ``None``.
        spent: queries that earlier attacks had of each, where they are counted; or ``None``.
    """

    x: Input
    y: Input
    goal: Input | None
    rows: Input | None = None
    spent: Input | None = None

    @classmethod
    def of(cls, subset: str, goal: str | None) -> Examples:
        """Return all examples of an eval subset, with their goals where there are some."""
        wanted = Input(goal, "goal") if goal else None
        return cls(Input(subset, "x"), Input(subset, "y"), wanted)


class AttackStages:
    """Adds the stages of attacks and of predictions.

    Args:
        shared: adds and remembers stages.
        networks: adds the networks that attacks hold.
    """

    def __init__(self, shared: SharedStages, networks: NetworkStages) -> None:
        self.shared, self.networks = shared, networks

    # -- what an attack holds -----------------------------------------------------------------

    def defended_network(self, s: CellSetting, net: str) -> Grant:
        """Grant a service that holds the defended network, and what the attack asks for beside."""
        data = self.shared.data(s.matrix, "student")
        roles = {"victim": s.victim} | answering_defense(s)
        weights = {"weights": Input(net, "")}
        if "weights" in s.attacker.manifest.needs and s.threat.access == "victim":
            own_build = s.defense.uses("build")  # whose code may not run beside the attack
            plain = self.networks.clean_network("train", s, data, s.victim) if own_build else net
            weights["undefended"] = Input(plain, "")
        return Grant(data, weights, roles)

    def source_network(self, s: CellSetting, net: str) -> Grant:
        """Grant the surrogate; where there is none, the public network.

        Existing weights are granted as the start of a training: they have no last layer.
        """
        data = self.shared.data(s.matrix, "student")
        if s.surrogate is not None:
            weights = self.networks.clean_network("train", s, data, s.surrogate)
            return Grant(data, {"weights": Input(weights, "")}, {"victim": s.surrogate})
        public = self.networks.public(s, {})
        if s.headless:
            return Grant(data, start(public), {"victim": s.victim})
        assert public is not None
        data = self.shared.data(s.matrix, "public")
        return Grant(data, {"weights": Input(public, "")}, {"victim": s.victim})

    def no_network(self, s: CellSetting, net: str) -> Grant:
        """Grant no network: training is over, and the victim is withheld."""
        return Grant(self.shared.data(s.matrix, "student"), {}, {})

    # -- attacks ------------------------------------------------------------------------------

    def attack(
        self, s: CellSetting, net: str, subset: str, data: str | None = None
    ) -> tuple[dict[str, str], frozenset[str]]:
        """Add the stages that make and measure attacked inputs.

        Args:
            s: a cell whose threat model changes test inputs.
            net: stage of the defended network.
            subset: stage of the test examples.
            data: data stage of the test examples where they are not the student's.

        Returns:
            Role → stage key, and the keys of the stages that the attack itself runs.
        """
        assert s.threat.at_test
        goal = self.shared.goal(s, subset)
        roles_made = {"goal": goal} if goal else {}
        if not s.attacker.uses(s.threat.at_test):
            return roles_made, frozenset()
        key, own = self.make(s, net, Examples.of(subset, goal), data)
        measure = self.measure(s, subset, key)
        return roles_made | {"attack": key, "measure": measure}, own

    def measure(self, s: CellSetting, subset: str, attacked: str) -> str:
        """Add the stage that measures the attacked inputs of the eval subset."""
        inputs = {"clean": Input(subset, "x"), "attacked": Input(attacked, "attacked")}
        recipe = MeasureRecipe(s.matrix.keep.examples, boxes=bool(s.matrix.keep.attention))
        return self.shared.graph.add("measure", inputs, recipe)

    def make(
        self, s: CellSetting, net: str, examples: Examples, data: str | None = None
    ) -> tuple[str, frozenset[str]]:
        """Add the stages that make attacked inputs.

        Args:
            s: a cell whose attack changes test inputs.
            net: stage of the defended network.
            examples: the test examples.
            data: data stage of the test examples where they are not the student's.

        Returns:
            The stage, and the keys of all that the attack itself runs.
        """
        assert s.threat.at_test
        no_model_access = s.attacker.manifest.no_model_access
        grant = GRANTS[s.threat.access](self, s, net)
        access = AccessOptions(s.threat.access, no_model_access, s.threat.at_test)
        if access.access in SERVED:
            access = replace(access, samples=s.samples, noise=s.defense.noise)
        state, own = self._state(s, grant, access)
        if no_model_access and s.threat.access != "oracle":
            grant = self.no_network(s, net)
            access = replace(access, access="none", samples=1, noise=None)
        roles = {"attack": s.attacker} | grant.roles
        inputs = grant.weights | spec(data or grant.data) | state
        inputs["slice_x"] = examples.x
        if s.threat.labels and not no_model_access:
            inputs["slice_y"] = examples.y
            if examples.goal:
                inputs["goal"] = examples.goal
        if examples.rows:
            inputs["rows"] = examples.rows
        if examples.spent:
            inputs["spent"] = examples.spent
        options = AttackOptions(
            access.access,
            access.no_model_access,
            access.hook,
            batch=s.matrix.eval_subset.batch,
            least_likely=s.matrix.goal.targeted == "least_likely",
            samples=access.samples,
            noise=access.noise,
        )
        key = self.shared.module_stage("attack", s.seed, inputs, roles, s.attack_budget, options)
        return key, own | {key}

    def _state(
        self,
        s: CellSetting,
        grant: Grant,
        access: AccessOptions,
    ) -> tuple[dict[str, Input], frozenset[str]]:
        """Return what the attack has written before the test, and the stages that it ran for it."""
        found: dict[str, Input] = {}
        own: frozenset[str] = frozenset()
        if s.attacker.uses("learn") and "learn" in s.threat.optional:
            training = {name: Input(grant.data, name) for name in ("train", "val")}
            roles = {"attack": s.attacker} | grant.roles
            inputs = grant.weights | spec(grant.data) | training
            learned = self.shared.module_stage(
                "learn", s.seed, inputs, roles, s.attack_budget, access
            )
            own = frozenset({learned})
            found = {"state": Input(learned, "state")}
        for kind in ("poison", "deliver"):
            if s.attacker.uses(kind) and s.threat.at_test == "trigger":
                earlier = self._earlier(s, kind)
                if earlier is not None:
                    found = {"state": Input(earlier, "state")}
        return found, own

    def _earlier(self, s: CellSetting, kind: str) -> str | None:
        """Return the stage in which the attack wrote the state that its trigger reads."""
        if kind == "poison" and s.threat.poisons:
            role = "public" if s.matrix.poisons == "public" else "student"
            return self.networks.poison(s, self.shared.data(s.matrix, role))
        if kind == "deliver" and s.threat.delivers:
            public = self.networks.public(s, {})
            assert public is not None
            return self.networks.deliver(s, public)
        return None

    # -- predictions --------------------------------------------------------------------------

    def predict(
        self,
        s: CellSetting,
        net: str,
        x: Input,
        *,
        eight_bit: bool = False,
        defended: bool = True,
        data: str | None = None,
    ) -> str:
        """Add the outputs on inputs without labels.

        Args:
            s: the cell.
            net: stage of the network.
            x: the inputs.
            eight_bit: whether inputs are rounded to the 256 levels of a picture file first.
            defended: whether the defence answers in the network's place.
            data: data stage of the network where it is not the student's.
        """
        student = self.shared.data(s.matrix, "student")
        subset = self.shared.eval_subset(s.matrix, student)
        inputs = {"weights": Input(net, ""), "x": x, **spec(data or student)}
        roles = {"victim": s.victim} | (answering_defense(s) if defended else {})
        # on the clean test inputs, where a network's answers must not depend on the batch
        random = s.random if defended else s.victim.manifest.random
        draws = s.matrix.random.draws if random else 1
        rebatch = x == Input(subset, "x") and data is None
        if defended and s.defense.noise is not None:
            return self._vote(s, s.defense.noise, inputs, roles, rebatch=rebatch)
        rebatch = rebatch and draws == 1
        options = PredictOptions(s.matrix.eval_subset.batch, eight_bit, rebatch, draws)
        return self.shared.module_stage("predict", s.seed, inputs, roles, options=options)

    def _vote(
        self,
        s: CellSetting,
        noise: float,
        inputs: Mapping[str, Input],
        roles: Mapping[str, ResolvedEntry],
        *,
        rebatch: bool,
    ) -> str:
        """Add the votes of a smoothed network on noisy copies, and what the judge makes of them."""
        chosen, batch = s.matrix.smoothing, s.matrix.eval_subset.batch
        options = VotesOptions(batch, noise, chosen.draws, chosen.selection, KEPT, rebatch)
        votes = self.shared.module_stage("votes", s.seed, inputs, roles, options=options)
        recipe = DecideRecipe(chosen.draws, noise, chosen.alpha)
        return self.shared.graph.add("decide", {"votes": Input(votes, "")}, recipe)

    def predict_clean(self, s: CellSetting, net: str, x: Input) -> str:
        """Add the outputs on the clean test examples, unless another cell has."""
        return self.shared.once(("clean", *s.network), lambda: self.predict(s, net, x))


GRANTS: MappingProxyType[str, Callable[[AttackStages, CellSetting, str], Grant]] = MappingProxyType(
    {
        "victim": AttackStages.defended_network,
        "oracle": AttackStages.defended_network,
        "source": AttackStages.source_network,
        "none": AttackStages.no_network,
    }
)
"""THE table of access: a threat model's ``access`` → what its attacks hold at test time."""


def answering_defense(s: CellSetting) -> dict[str, ResolvedEntry]:
    """Return the defence in its role where it changes the network that others hold."""
    return {"defense": s.defense} if s.defense.uses(*ANSWERING_HOOKS) else {}
