"""Options of stages: what module code is told beside modules, budget and seed.

A field more, or another name of one, changes keys; ``test_recipe_keys`` pins them all.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, TypeAlias

from harness.config.strict_yaml import Json


class Fields:
    """Base of dataclasses whose JSON is their fields by name."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_json(self) -> dict[str, Json]:
        """Return the fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class NoOptions(Fields):
    """Options of stages that have none."""


@dataclass(frozen=True, slots=True)
class ImportOptions(Fields):
    """Options of ``import``.

    Attributes:
        start: whether training starts from the weights, so that their last layer is left out.
    """

    start: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; ``start`` is left out where it is false."""
        return {"start": True} if self.start else {}


@dataclass(frozen=True, slots=True)
class AccessOptions(Fields):
    """Options of ``learn``.

    Attributes:
        access: whose network the attack holds, as in the table of threat models.
        no_model_access: whether the attack gets neither the model nor labels at test time.
        hook: the hook that makes test inputs, ``perturb`` or ``trigger``.
        samples: passes of a random network behind an answer to a white-box attack, and answers to
            its attacked inputs that are kept; 1 where the network is not random.
        noise: standard deviation of the noise that each pass adds to its inputs, or ``None``.
    """

    access: str
    no_model_access: bool
    hook: str
    samples: int = field(default=1, kw_only=True)
    noise: float | None = field(default=None, kw_only=True)

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; ``samples`` is left out where it is 1, ``noise`` without any."""
        found = Fields.to_json(self)
        for name, usual in (("samples", 1), ("noise", None)):
            if found[name] == usual:
                del found[name]
        return found


@dataclass(frozen=True, slots=True)
class AttackOptions(AccessOptions):
    """Options of ``attack``.

    Attributes:
        batch: examples in one call of the hook.
        least_likely: whether each example's target is the class that the model finds least likely.
    """

    batch: int
    least_likely: bool


@dataclass(frozen=True, slots=True)
class ProbeOptions(AccessOptions):
    """Options of ``probe``.

    Attributes:
        batch: number of test examples that are probed, in one batch.
    """

    batch: int


@dataclass(frozen=True, slots=True)
class PredictOptions(Fields):
    """Options of ``predict``.

    Attributes:
        batch: examples in one call of the network.
        eight_bit: whether inputs are rounded to the 256 levels of a picture file first.
        rebatch: whether a sample of the inputs is predicted in other batches, and again in these.
        draws: predictions of each input by a random network; 1 where it is not random.
    """

    batch: int
    eight_bit: bool = False
    rebatch: bool = False
    draws: int = 1

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form; options that are false, and one draw, are left out."""
        found: dict[str, Json] = {"batch": self.batch}
        found |= {n: True for n in ("eight_bit", "rebatch") if getattr(self, n)}
        return found if self.draws == 1 else found | {"draws": self.draws}


@dataclass(frozen=True, slots=True)
class VotesOptions(Fields):
    """Options of ``votes``.

    Attributes:
        batch: examples in one call of the network.
        noise: standard deviation of the noise on each copy of an input.
        votes: copies of each input whose classes are counted.
        selection: further copies, counted apart.
        draws: copies whose outputs are kept.
        rebatch: whether a sample of the copies is asked again, in other batches, of a new process.
    """

    batch: int
    noise: float
    votes: int
    selection: int
    draws: int
    rebatch: bool = False


@dataclass(frozen=True, slots=True)
class MapsOptions(Fields):
    """Options of ``maps``.

    Attributes:
        batch: examples in one call of the network.
        modes: modes of the attention maps.
    """

    batch: int
    modes: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"batch": self.batch, "modes": list(self.modes)}


Options: TypeAlias = (
    NoOptions | ImportOptions | AccessOptions | PredictOptions | VotesOptions | MapsOptions
)
