"""Reference attacks that a victim or a defence must let play: one of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.config.strict_yaml import Json

IMAGES = ("classification", "segmentation")


@dataclass(frozen=True)
class Opponent:
    """Reference attack of one kind, with parameters that make it short.

    Attributes:
        kind: what the attack asks of a network, in a few words.
        attack: name of the attack.
        params: parameters that make it short.
        tasks: tasks that it is written for.
    """

    kind: str
    attack: str
    params: dict[str, Json] = field(default_factory=dict)
    tasks: tuple[str, ...] = IMAGES

    def entry(self, label: str) -> dict[str, Json]:
        """Return the entry of a matrix, with a label: two opponents may be one attack."""
        return {"name": self.attack, "as": label, "params": self.params}


STEP = Opponent("one gradient step", "fgsm")
STEPS = Opponent("gradients of logits", "pgd", {"steps": 3})
ADAPTIVE = Opponent("adaptive step sizes", "apgd", {"steps": 3})
DENSE = Opponent("gradients of pixels", "pgd", {"steps": 2, "weighting": "cospgd"}, IMAGES[1:])
LEARNED = Opponent("learning on the training set", "universal", {"steps": 3, "batch": 8})
SCORES = Opponent("random search on scores", "square", {"iterations": 10}, IMAGES[:1])
FEATURES = Opponent("features of the public network", "feature-attack", {"steps": 3}, IMAGES[:1])
LABELS = Opponent("edited labels", "label-flip", tasks=("classification", "ranking"))
BACKDOOR = Opponent("a trigger in training", "badnets", tasks=IMAGES[:1])
TEACHER = Opponent("a delivered network", "backdoored-teacher", tasks=IMAGES[:1])

OPPONENTS: dict[str, tuple[Opponent, ...]] = {
    "evasion": (STEP, STEPS, ADAPTIVE, DENSE, LEARNED, SCORES),
    "evasion-query": (SCORES,),
    "evasion-transfer": (FEATURES, STEP),
    "poisoning": (LABELS,),
    "backdoor": (BACKDOOR,),
    "supply-chain": (TEACHER,),
}
"""Threat model → attacks of every kind that it allows; the first serves every variant."""


def opponents(threat: str, task: str) -> list[Opponent]:
    """Return the attacks that play under a threat model and a task."""
    return [one for one in OPPONENTS[threat] if task in one.tasks]
