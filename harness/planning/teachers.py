"""Stages that judge the teacher: the network that the student starts from, where an attack made it.

A backdoor is looked for at the student, and what the student lacks the teacher may have lacked
already. So the teacher, and the networks in its place in the controls, answer the test examples of
the teacher's own data, clean and with the trigger. No defence takes part.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from harness.planning.attacks import AttackStages
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.networks import NetworkStages
from harness.planning.shared_stages import SharedStages, role_of

ACCURACY, SUCCESS = "teacher_accuracy", "teacher_success_rate"

NO_TRIGGER = "the attack puts no trigger into test inputs"


class JudgedTeacher(NamedTuple):
    """What a teacher is judged by.

    Attributes:
        roles: role → stage key; empty where no attack made the network.
        own: keys of the stages that the attack runs.
        absent: metric → why there are no stages for it.
    """

    roles: Mapping[str, str] = MappingProxyType({})
    own: frozenset[str] = frozenset()
    absent: Mapping[str, str] = MappingProxyType({})


class TeacherStages:
    """Adds the predictions of teachers.

    Args:
        shared: adds and remembers stages.
        networks: adds the teachers.
        attacks: adds triggers and predictions.
    """

    def __init__(
        self, shared: SharedStages, networks: NetworkStages, attacks: AttackStages
    ) -> None:
        self.shared, self.networks, self.attacks = shared, networks, attacks

    def judge(self, s: CellSetting) -> JudgedTeacher:
        """Add what the teacher of a cell is judged by, unless a cell of another defence has."""
        poisoned = s.threat.poisons and s.matrix.poisons == "public"
        if not (poisoned or s.threat.delivers):
            return JudgedTeacher()
        # the same whatever defends the student
        cell = (s.matrix.name, s.victim.label, s.attacker.label, s.seed)
        identity = ("teacher", *cell, *s.budget.values.items())
        return self.shared.once(identity, lambda: self._judge(s))

    def _judge(self, s: CellSetting) -> JudgedTeacher:
        role = role_of(s.matrix, "attacker" if s.threat.delivers else "public")
        data, name = self.shared.data(s.matrix, role), s.matrix.data[role].name
        teacher = self._teacher(s)
        roles, absent = {"teacher": teacher}, dict[str, str]()
        controls = {f"{name}_": control for name, control in s.controls().items()}
        examples = _test_examples(s, role)
        if not examples:
            reason = f"{name} has no test examples"
            figures = [prefix + one for prefix in ("", *controls) for one in (ACCURACY, SUCCESS)]
            return JudgedTeacher(roles, absent=dict.fromkeys(figures, reason))
        subset = self.shared.test_examples(data, examples)
        own: frozenset[str] = frozenset()
        made: dict[str, str] = {}
        if s.threat.at_test:
            made, own = self.attacks.attack(s, teacher, subset, data)
        inputs = {"before": Input(subset, "x")}
        if "attack" in made:
            inputs["after"] = Input(made["attack"], "attacked")
        networks = {"": teacher}
        for prefix, control in controls.items():
            if why := _why_no_answers(control, name):
                absent |= {prefix + figure: why for figure in (ACCURACY, SUCCESS)}
            else:
                networks[prefix] = self._teacher(control)
        for prefix, network in networks.items():
            for when, x in inputs.items():
                key = self.attacks.predict(s, network, x, defended=False, data=data)
                roles[f"{prefix}teacher_{when}"] = key
            if "after" not in inputs:
                absent[prefix + SUCCESS] = NO_TRIGGER
        roles |= {f"teacher_{part}": key for part, key in {"slice": subset, **made}.items()}
        return JudgedTeacher(roles, own, absent)

    def _teacher(self, s: CellSetting) -> str:
        """Add the network that the student of a cell, or of its control, starts from."""
        public = self.networks.public(s, {})
        assert public is not None, "what delivers a teacher replaces a public network"
        delivers = s.threat.delivers and s.attack is not None
        return self.networks.deliver(s, public) if delivers else public


def _why_no_answers(s: CellSetting, name: str) -> str | None:
    """Return why the teacher of a cell without the attack has no answers for the teacher's data."""
    if s.attack is not None:  # trained by the attack in its clean form, on these data
        return None
    if "public" not in s.matrix.data:
        return "the public network is existing weights, whose last layer is left out"
    if s.matrix.data["public"].name != name:
        return f"the public network is not trained on the classes of {name}"
    return None


def _test_examples(s: CellSetting, role: str) -> int:
    """Return how many test examples of a role's data a teacher answers: all if they are fewer."""
    data, wanted = s.context.sets[role], s.matrix.eval_subset.examples
    sizes = data.facts or data.here  # the same on all machines, so that keys are
    return wanted if sizes is None else min(wanted, sizes.test)
