"""THE threat table: what each threat model runs, grants, withholds and judges.

Nothing else in the harness branches on a threat model's name; a new one is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ThreatModel:
    """Row of the table of threat models.

    Attributes:
        name: as benchmarks and manifests write it.
        title: for people.
        sentence: what the attacker may do, for the site.
        tasks: tasks it is defined for.
        hooks: attack hooks that must exist.
        optional: attack hooks that are used where they exist.
        at_test: the hook that makes test inputs, ``perturb`` or ``trigger``, or ``None``.
        access: whose network the at-test hook (and ``learn``) holds: ``victim``, ``oracle``,
            ``source`` (public or surrogate weights) or ``none``.
        labels: whether the at-test hook sees labels.
        poisons: whether the attack edits a training set.
        delivers: whether the attack delivers a teacher.
        probed: whether the gradients of every defended network are probed.
        control: whether the same defence trained without the attack is planned, too.
        defense_hooks: hooks of a defence that apply.
        judged: which budget fields are checked, ``perturbation`` and/or ``edits``.
        withheld: what the attacker never sees, for the site.
        borrows: whether a defence also meets the inputs that attacks made against other defences.
        borrowing: why it does or does not, for the site.
        floor: tasks in which a matrix needs a floor of attacks (``planning.attack_floor``).
    """

    name: str
    title: str
    sentence: str
    withheld: str
    tasks: tuple[str, ...]
    hooks: tuple[str, ...]
    defense_hooks: tuple[str, ...]
    judged: tuple[str, ...]
    optional: tuple[str, ...] = ()
    at_test: str | None = None
    access: str = "none"
    labels: bool = False
    poisons: bool = False
    delivers: bool = False
    probed: bool = False
    control: bool = False
    borrows: bool = False
    borrowing: str = ""
    floor: tuple[str, ...] = ()


IMAGES = ("classification", "segmentation")
AFTER_TRAINING = ("build", "fit", "loss", "repair", "guard")

THREATS: dict[str, ThreatModel] = {
    row.name: row
    for row in (
        ThreatModel(
            name="evasion",
            title="Evasion, white-box",
            sentence="The attacker holds the defended network with its gradients and changes "
            "test inputs within the budget.",
            tasks=IMAGES,
            hooks=("perturb",),
            optional=("learn",),
            at_test="perturb",
            access="victim",
            labels=True,
            probed=True,
            defense_hooks=AFTER_TRAINING,
            judged=("perturbation",),
            withheld="nothing",
            borrows=True,
            borrowing="An attacker who holds the network may also use inputs that were made "
            "against another one.",
            floor=("classification",),
        ),
        ThreatModel(
            name="evasion-query",
            title="Evasion by queries",
            sentence="The attacker may only ask a process that holds the defended network, "
            "so many times per input; the process counts.",
            tasks=IMAGES,
            hooks=("perturb",),
            at_test="perturb",
            access="oracle",
            labels=True,
            defense_hooks=AFTER_TRAINING,
            judged=("perturbation", "queries"),
            withheld="the weights and gradients",
            borrowing="Nothing is borrowed: inputs made with other networks would be a transfer "
            "attack, without queries.",
        ),
        ThreatModel(
            name="evasion-transfer",
            title="Evasion by transfer",
            sentence="The attacker holds public or surrogate weights only and changes test "
            "inputs before the student exists.",
            tasks=IMAGES,
            hooks=("perturb",),
            optional=("learn",),
            at_test="perturb",
            access="source",
            labels=True,
            defense_hooks=AFTER_TRAINING,
            judged=("perturbation",),
            withheld="the victim's weights and outputs",
            borrowing="Nothing is borrowed: all defences meet the same inputs already.",
        ),
        ThreatModel(
            name="poisoning",
            title="Poisoning",
            sentence="The attacker edits a share of the training set; test inputs stay the same.",
            tasks=("classification", "ranking"),
            hooks=("poison",),
            poisons=True,
            control=True,
            defense_hooks=("build", "sanitize", "fit", "loss", "repair"),
            judged=("edits",),
            withheld="test data and the trained victim",
            borrowing="Nothing is borrowed: the edits do not depend on the defence.",
        ),
        ThreatModel(
            name="backdoor",
            title="Backdoor",
            sentence="The attacker edits a share of the training set and later puts a trigger "
            "into test inputs, whose labels it never sees.",
            tasks=("classification",),
            hooks=("poison", "trigger"),
            at_test="trigger",
            poisons=True,
            control=True,
            defense_hooks=("build", "sanitize", "fit", "loss", "repair", "guard"),
            judged=("edits", "perturbation"),
            withheld="the trained victim, test labels",
            borrowing="Nothing is borrowed: all defences meet the same trigger already.",
        ),
        ThreatModel(
            name="supply-chain",
            title="Supply chain",
            sentence="The attacker delivers the pre-trained network that the student starts "
            "from, and later puts a trigger into test inputs.",
            tasks=("classification",),
            hooks=("deliver",),
            optional=("trigger",),
            at_test="trigger",
            delivers=True,
            control=True,
            defense_hooks=("build", "fit", "loss", "repair", "guard"),
            judged=("perturbation",),
            withheld="the student's data and weights",
            borrowing="Nothing is borrowed: all defences meet the same trigger already.",
        ),
    )
}

CONTROLS = {"attack": ("noop", "random_noise"), "defense": ("none",)}
"""Kind → names of the modules that are controls: tables always show them."""
