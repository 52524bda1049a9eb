"""Conformance stage ``probe_network``: honest mistakes of a network, found by asking it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from harness.runtime.contracts import ContractError, OutputError, Spec, as_input
from harness.runtime.model import freeze
from harness.runtime.tasks import check_answer
from harness.runtime.worker import arrays, probe_names
from harness.runtime.worker.job import Job

PROBED = {"classification": 12, "ranking": 12, "segmentation": 5}
"""Task → number of inputs that the network is asked about."""

TOLERANCE = 1e-3
"""Difference of two answers, as a share of the answers' spread, that rounding does not explain."""

REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
"""Exceptions of a network that cannot handle a batch."""


def probe_network(job: Job) -> None:
    """Save what is wrong with the answers of a network, by the name of each check.

    The network's code runs in this process, so the result is a claim: conformance finds honest
    mistakes, not hidden ones.
    """
    trained = "weights" in job.inputs  # not where training has failed; most mistakes show untrained
    if trained and (text := check_rebuild(job, job.build())):
        save_findings(job, dict.fromkeys(probe_names.NETWORK, "") | {probe_names.REBUILD: text})
        return

    def make() -> nn.Module:
        guarded = freeze(job.guard(job.trained() if trained else job.build()))
        job.called = "defense" if "defense" in job.modules else "victim"
        return guarded

    raw = job.tensor("slice_x", "x.npy")[: PROBED[job.spec.task]]
    torch.manual_seed(job.ctx.seed("probe"))
    save_findings(job, find_mistakes(make, as_input(raw, job.device), job.spec))


def check_rebuild(job: Job, network: nn.Module) -> str:
    """Load the trained weights into a network that ``build`` has made in this process."""
    try:
        arrays.load_weights(job.inputs["weights"] / "network.safetensors", network)
    except ContractError as error:
        text = " ".join(str(error).split())[:300]
        return f"{text}; make every tensor in build(), in its final shape"
    return ""


def save_findings(job: Job, found: dict[str, str]) -> None:
    """Write findings for ``harness.conformance``."""
    folder = job.out / "findings"
    folder.mkdir(parents=True, exist_ok=True)
    arrays.write_json(folder / probe_names.FINDINGS, found)


def find_mistakes(make: Callable[[], nn.Module], x: Tensor, spec: Spec) -> dict[str, str]:
    """Return the name of each check with what it found, an empty text where all is well.

    A mistake in ``LAST`` ends the search: later checks would report it again.

    Args:
        make: returns the frozen network in eval mode, each time as it is before its first answer.
        x: inputs ``[N, …]``, float32 in [0, 1] or item numbers.
        spec: description of the data set.
    """
    asked = Asked(make(), make, x, spec)
    found = dict.fromkeys(probe_names.NETWORK, "")
    for name, check in CHECKS.items():
        found[name] = check(asked)
        if found[name] and name in LAST:
            break
    return found


@dataclass
class Asked:
    """Network under test, and inputs to ask it about.

    Attributes:
        network: frozen network in eval mode.
        make: returns the same network before its first answer.
        x: inputs ``[N, …]``; never handed out, only copies are.
        spec: description of the data set.
    """

    network: nn.Module
    make: Callable[[], nn.Module]
    x: Tensor
    spec: Spec

    def answer(self, x: Tensor) -> Tensor:
        """Return a copy of the answer to a copy of some inputs, without gradients."""
        with torch.no_grad():
            result: Tensor = self.network(x.clone())
        return result.detach().clone()

    @cached_property
    def first(self) -> Tensor:
        """Answer to all inputs, the first that the network gives."""
        return self.answer(self.x)

    def modes(self) -> Iterator[tuple[bool, str]]:
        """Yield the gradient modes in which the network is asked, each with words for it."""
        yield False, ""
        if self.x.is_floating_point():
            yield True, " while gradients are on"

    def inputs(self, x: Tensor, *, gradients: bool) -> Tensor:
        """Return a copy of inputs; with gradients, one that may be changed in place unnoticed."""
        copy = x.clone()
        return copy.requires_grad_(True) * 1 if gradients else copy


def check_form(asked: Asked) -> str:
    """Check that the answer to a usual batch is one tensor of the task's shape."""
    with torch.no_grad():
        out: object = asked.network(asked.x.clone())
    return wrong_shape(out, asked.x, asked.spec)


def check_type(asked: Asked) -> str:
    """Check that answers are float32."""
    return wrong_answer(asked.first, asked.x, asked.spec)


def check_place(asked: Asked) -> str:
    """Check that answers lie on the inputs' device, and that no global setting changes."""
    if asked.first.device.type != asked.x.device.type:
        where = f"{asked.first.device.type}, the inputs on {asked.x.device.type}"
        return f"answers are on {where}; make new tensors with device=x.device"
    kind = torch.get_default_dtype()
    for gradients, words in asked.modes():
        with torch.set_grad_enabled(gradients), refusals():
            out = asked.network(asked.inputs(asked.x, gradients=gradients))
            if torch.is_grad_enabled() != gradients or torch.get_default_dtype() != kind:
                torch.set_default_dtype(kind)
                return (
                    f"forward() changes a global setting of torch{words}; use "
                    "`with torch.no_grad():` around the lines that need it"
                )
            if out.requires_grad and not gradients:
                return (
                    "answers carry a graph although gradients are off; remove enable_grad() from "
                    "forward(), or return out.detach()"
                )
    return ""


def check_unchanged(asked: Asked) -> str:
    """Check that the network does not write into its input."""
    for gradients, words in asked.modes():
        x = asked.inputs(asked.x, gradients=gradients)
        with torch.set_grad_enabled(gradients), refusals():
            asked.network(x)
        if not torch.equal(x.detach(), asked.x):
            return f"forward() changes its input in place{words}; begin with x = x.clone()"
    return ""


def check_memory(asked: Asked) -> str:
    """Check that no answer shares memory with the input, the weights or another answer."""
    weights = {storage(t) for t in (*asked.network.parameters(), *asked.network.buffers())}
    for gradients, words in asked.modes():
        held, seen = [], set[int]()
        for x in (asked.x, asked.x[:5], asked.x.flip(0), asked.x):
            copy = asked.inputs(x, gradients=gradients)
            with torch.set_grad_enabled(gradients), refusals():
                out = asked.network(copy)
                held += [copy, out]  # alive, so that their memory is given to nothing else
                if storage(out) == storage(copy):
                    return f"the answer is the input or a view of it{words}; return out.clone()"
                if storage(out) in seen | weights:
                    return (
                        "answers to all batches lie in one buffer, so that the next overwrites "
                        f"the last{words}; return a new tensor: out.clone()"
                    )
                seen.add(storage(out))
    return ""


def check_repeat(asked: Asked) -> str:
    """Check that the same inputs have the same answer, also after other batches."""
    if alike(asked.first, asked.answer(asked.x)):
        return ""
    return (
        "the same inputs have another answer in a later call; remove what draws or remembers, or, "
        "for a defence that draws, say random: true in the manifest"
    )


def check_batch(asked: Asked) -> str:
    """Check that an answer depends neither on the order nor on the others of its batch.

    Parts of the inputs are given to a second network, the last part first: one that sets itself by
    its first batch differs there.
    """
    with refusals():
        if not alike(asked.first, asked.answer(asked.x.flip(0)).flip(0)):
            return (
                "an answer depends on the order of its batch; forward() must treat every row alike"
            )
        second = replace(asked, network=asked.make())
        for part in reversed(parts(len(asked.x))):
            wanted, found = asked.first[part], second.answer(asked.x[part])
            if wanted.shape == found.shape and not alike(wanted, found, asked.first):
                return (
                    "an answer depends on the other inputs of its batch, or of an earlier one; use "
                    "running statistics in eval mode, and compute nothing over dimension 0"
                )
    return ""


def check_size(asked: Asked, size: int) -> str:
    """Check the form of the answer to a batch of some rows."""
    x = asked.x[:size]
    try:
        out = asked.answer(x)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS as error:
        line = (str(error).strip().splitlines() or [""])[0][:160]
        rows = f"{size} row" if size == 1 else f"{size} rows"
        return (
            f"a batch of {rows} ends in {type(error).__name__}: {line}; forward() must take any "
            "number of rows"
        )
    return wrong_shape(out, x, asked.spec)


LAST = (probe_names.FORM, probe_names.PLACE, probe_names.REPEAT)
"""Mistakes that other checks would report again, under another name."""

CHECKS: dict[str, Callable[[Asked], str]] = {
    probe_names.FORM: check_form,
    probe_names.PLACE: check_place,
    probe_names.FLOAT32: check_type,
    probe_names.UNCHANGED: check_unchanged,
    probe_names.OWN_MEMORY: check_memory,
    probe_names.ONE_ROW: lambda asked: check_size(asked, 1),
    probe_names.ANY_SIZE: lambda asked: check_size(asked, 3),
    probe_names.REPEAT: check_repeat,
    probe_names.BATCH: check_batch,
}
"""Name → its check, in order."""


@contextmanager
def refusals() -> Iterator[None]:
    """Pass over a network's refusal of a batch, which another check names.

    Of a batch size ``check_size`` does, of gradients the stage ``gradients``.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return


def parts(rows: int) -> list[slice]:
    """Return the parts of a batch, one of them a single row.

    >>> [len(range(12)[part]) for part in parts(12)]
    [1, 2, 9]
    """
    return [slice(0, 1), slice(1, 3), slice(3, rows)]


def storage(tensor: Tensor) -> int:
    """Return the address of a tensor's memory; of views of one memory it is equal."""
    return tensor.untyped_storage().data_ptr()


def alike(first: Tensor, second: Tensor, scale: Tensor | None = None) -> bool:
    """Return whether answers are equal but for rounding, as measured by the spread of ``scale``.

    >>> alike(torch.tensor([0.0, 1.0]), torch.tensor([1e-6, 1.0]))
    True
    """
    a, b = first.double(), second.double()
    finite = (a if scale is None else scale.double()).flatten()
    finite = finite[torch.isfinite(finite)]
    spread = float(finite.max() - finite.min()) if len(finite) else 0.0
    return torch.allclose(a, b, rtol=0.0, atol=TOLERANCE * spread, equal_nan=True)


def wrong_shape(out: object, x: Tensor, spec: Spec) -> str:
    """Return what is wrong with an answer but for its type; an empty text if nothing is."""
    dense = isinstance(out, Tensor) and out.layout == torch.strided
    return wrong_answer(out.float() if dense else out, x, spec)  # type: ignore[attr-defined]


def wrong_answer(out: object, x: Tensor, spec: Spec) -> str:
    """Return what is wrong with the form of an answer; an empty text if nothing is."""
    try:
        check_answer(out, x, spec)
    except OutputError as error:
        return str(error)
    return ""
