"""Stages that make networks: public, imported, delivered, poisoned, trained and repaired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from harness.config.field_types import Limit
from harness.planning.cell_setting import CellSetting
from harness.planning.graph import Input
from harness.planning.options import ImportOptions
from harness.planning.recipe import ApplyRecipe, SubsetRecipe
from harness.planning.resolved_entry import ResolvedEntry
from harness.planning.shared_stages import SharedStages, spec, start

TRAINING_HOOKS = ("build", "fit", "loss")
"""A defence with one of these hooks trains a network of its own."""


class Network(NamedTuple):
    """A planned network.

    Attributes:
        key: the stage that has its final weights.
        own: keys of the stages that the attack or the defence ran on the way.
        made: kind → key of the stages on the way.
    """

    key: str
    own: frozenset[str]
    made: Mapping[str, str]


class NetworkStages:
    """Adds the stages behind a cell's networks.

    Args:
        shared: adds and remembers stages.
    """

    def __init__(self, shared: SharedStages) -> None:
        self.shared = shared

    def network(self, s: CellSetting) -> Network:
        """Add the defended network of a cell or of its control, unless another cell has."""
        return self.shared.once(s.network, lambda: self._network(s))

    def _network(self, s: CellSetting) -> Network:
        data = self.shared.data(s.matrix, "student")
        made: dict[str, str] = {}
        begin = self._start_weights(s, made)
        train = self._training_set(s, data, begin, made)
        trains = s.defense.uses(*TRAINING_HOOKS)
        initial: dict[str, Input] = {}
        if s.victim.pretrained and begin is None:
            net = made["import"] = self.imported(s, data, s.victim)
            initial = {"initial": Input(net, "")}
        if not initial or trains:
            inputs = {
                "train": train,
                "val": Input(data, "val"),
                **start(begin),
                **initial,
                **spec(data),
            }
            roles = {"victim": s.victim} | ({"defense": s.defense} if trains else {})
            net = made["train"] = self.shared.module_stage("train", s.seed, inputs, roles)
        if s.defense.uses("repair") and "repair" in s.threat.defense_hooks:
            net = made["repair"] = self._repair(s, data, net)
        undefended = {"import"} if trains else {"import", "train"}
        own = frozenset(key for kind, key in made.items() if kind not in undefended)
        return Network(net, own, made)

    def _start_weights(self, s: CellSetting, made: dict[str, str]) -> str | None:
        """Add the network that the student's training starts from, if it starts from one."""
        begin = self.public(s, made)
        if s.threat.delivers and s.attack is not None:
            assert begin is not None
            begin = made["deliver"] = self.deliver(s, begin)
        return begin

    def _training_set(
        self, s: CellSetting, data: str, begin: str | None, made: dict[str, str]
    ) -> Input:
        """Add what changes the student's training set: the attack's edits, then the sanitizer."""
        train = Input(data, "train")
        poisoned = s.threat.poisons and s.matrix.poisons == "train" and s.attack is not None
        if poisoned:
            train = self._poisoned(s, data, made)
        if s.defense.uses("sanitize") and "sanitize" in s.threat.defense_hooks:
            # which pictures get a trigger in training would tell a sanitizer the answer
            shown = Input(self._apply(data, train, None, None), "train") if poisoned else train
            inputs = {"train": shown, **start(begin), **spec(data)}
            roles = {"victim": s.victim, "defense": s.defense}
            keep = made["sanitize"] = self.shared.module_stage("sanitize", s.seed, inputs, roles)
            train = Input(self._apply(data, train, Input(keep, "keep"), None), "train")
        return train

    def _poisoned(self, s: CellSetting, data: str, made: dict[str, str]) -> Input:
        """Add the training set of ``data`` after the attack's edits."""
        edits = made["poison"] = self.poison(s, data)
        train = Input(data, "train")
        made["apply"] = self._apply(data, train, Input(edits, "edits"), s.budget.values)
        return Input(made["apply"], "train")

    def _apply(
        self, data: str, train: Input, changes: Input | None, budget: Mapping[str, Limit] | None
    ) -> str:
        """Add the harness's own stage that applies edits or keeps; over-budget edits fail there.

        Without changes it puts the set's own overlay into the stored pictures.
        """
        inputs = {"train": train, **({"changes": changes} if changes else {}), **spec(data)}
        return self.shared.graph.add("apply", inputs, ApplyRecipe(budget))

    def _repair(self, s: CellSetting, data: str, net: str) -> str:
        clean = self.shared.graph.add(
            "clean", {"data": Input(data, "val"), **spec(data)}, SubsetRecipe(s.matrix.clean)
        )
        inputs = {"weights": Input(net, ""), "clean": Input(clean, "clean"), **spec(data)}
        roles = {"victim": s.victim, "defense": s.defense}
        return self.shared.module_stage("repair", s.seed, inputs, roles)

    def public(self, s: CellSetting, made: dict[str, str]) -> str | None:
        """Add the public network, if there is one, and note the attack's edits in ``made``.

        It is the victim, trained on public data, which the edits may change. Without such data it
        is the existing weights that the victim's training starts from.
        """
        if "public" not in s.matrix.data:
            if not s.victim.fine_tunes:
                return None
            made["import"] = self.imported(s, self.shared.data(s.matrix, "student"), s.victim)
            return made["import"]
        data = self.shared.data(s.matrix, "public")
        edited = s.threat.poisons and s.matrix.poisons == "public" and s.attack is not None
        train = self._poisoned(s, data, made) if edited else None
        return self.clean_network("public", s, data, s.victim, train)

    def clean_network(
        self,
        kind: str,
        s: CellSetting,
        data: str,
        victim: ResolvedEntry,
        train: Input | None = None,
    ) -> str:
        """Add a victim trained without a defence, or with the weights that it comes with.

        Args:
            kind: ``train`` or ``public``.
            s: the cell, for its seed.
            data: data stage of the training set.
            victim: the victim or a surrogate.
            train: another training set than that of ``data``.
        """
        if victim.pretrained:
            return self.imported(s, data, victim)
        inputs = {
            "train": train or Input(data, "train"),
            "val": Input(data, "val"),
            **self._victim_start(s, data, victim),
            **spec(data),
        }
        return self.shared.module_stage(kind, s.seed, inputs, {"victim": victim})

    def _victim_start(self, s: CellSetting, data: str, victim: ResolvedEntry) -> dict[str, Input]:
        """Return the input of the existing weights that a victim's training starts from."""
        return start(self.imported(s, data, victim) if victim.fine_tunes else None)

    def imported(self, s: CellSetting, data: str, victim: ResolvedEntry) -> str:
        """Add a victim with existing weights; no seed plays a part in them.

        Of weights to start from, the head is left out when a network is made from them.
        """
        assert victim.weights is not None
        file = self.shared.graph.add("weights", {}, victim.weights)
        inputs = {"file": Input(file, "file"), **spec(data)}
        options = ImportOptions(start=victim.fine_tunes)
        return self.shared.module_stage("import", 0, inputs, {"victim": victim}, options=options)

    def deliver(self, s: CellSetting, public: str) -> str:
        """Add the attacker's teacher, trained from the public network on the attacker's data."""
        data = self.shared.data(s.matrix, "attacker")
        inputs = {
            "train": Input(data, "train"),
            "val": Input(data, "val"),
            **start(public),
            **spec(data),
        }
        roles = {"victim": s.victim, "attack": s.attacker}
        return self.shared.module_stage("deliver", s.seed, inputs, roles, s.budget.values)

    def poison(self, s: CellSetting, data: str) -> str:
        """Add the proposed edits to a training set."""
        inputs = {"train": Input(data, "train"), "val": Input(data, "val"), **spec(data)}
        roles = {"attack": s.attacker}
        if s.matrix.knowledge.kind != "none":
            granted = s.surrogate or s.victim
            inputs["knowledge"] = Input(self.clean_network("train", s, data, granted), "")
            inputs |= self._victim_start(s, data, granted)
            roles["victim"] = granted
        return self.shared.module_stage("poison", s.seed, inputs, roles, s.budget.values)
