"""Existing weights in a module manifest: files, provenance, and what their authors claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from harness.config.field_types import Line, List, Name, Positive
from harness.config.file_model import Problem, Strict

FileName: TypeAlias = Annotated[str, Field(pattern=r"^[\w][\w.-]*$")]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Claim(Strict):
    """Figure that the authors of weights claim; shown beside ours, never ranked."""

    metric: Literal[
        "robust_accuracy",
        "clean_accuracy",
        "accuracy",
        "miou",
        "clean_miou",
        "attack_success_rate",
        "targeted_success_rate",
    ] = Field(
        description="Metric that the figure is nearest to; it stands beside ours of this metric."
    )
    value: Annotated[float, Field(ge=0, le=1)] = Field(
        description="The figure, as a fraction from 0 to 1."
    )
    under: Line | None = Field(
        default=None,
        description="Attacks, budget and examples of the claim, for example `AutoAttack, L∞ 8/255, "
        "10,000 test images`. Default: not said.",
    )
    source: Line = Field(description="Publication or address that has the figure.")


class Bound(Strict):
    """How many of some images are proven to stay right, whatever changes them within a radius.

    It holds for the network alone, without a defence, on exactly these images. An attack that
    leaves fewer right than `at_least` is no result: one of both sides is wrong, and the cell says
    so.
    """

    title: Line = Field(description="The images, for example `200 test images of CIFAR-10`.")
    images: Sha256 = Field(
        description="SHA-256 of the images with their labels, in any order: `contents` in the "
        "stored data set's `manifest.json`, and `examples` of a record."
    )
    of: Annotated[int, Field(ge=1)] = Field(description="Number of the images.")
    norm: Literal["linf", "l2"] = Field(description="Norm of the change: `linf` or `l2`.")
    eps: Positive = Field(description="Radius, on inputs in [0, 1], for example `2/255`.")
    at_least: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Images that are proven to stay right. Default: not known."
    )
    at_most: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Images that can stay right: all others are known to have a wrong answer "
        "within the radius. Default: not known.",
    )
    source: Line = Field(description="Publication, program or address that has the bound.")

    def problems(self) -> Iterator[Problem]:
        """Check that there is a bound, and that its numbers are in order."""
        if self.at_least is None and self.at_most is None:
            yield Problem((), "neither at_least nor at_most", "give one of them, or both")
        order = [n for n in (self.at_least, self.at_most, self.of) if n is not None]
        if order != sorted(order):
            what = "at_least, at_most and of are not in order"
            yield Problem((), what, "give numbers of the same images: at_least ≤ at_most ≤ of")


class Weights(Strict):
    """Existing weights of one network: a file, or several whose tensors are read together.

    A file may be safetensors, `.npz`, `.npy` (one tensor, with the file's name), `.onnx` (the
    graph's stored tensors), a PyTorch checkpoint of tensors or a pickled dictionary of NumPy
    arrays, also of Python 2; no pickle's code ever runs, and other objects in it are refused.
    Their names are those of the network's state dict, or `import_weights` renames them.
    """

    file: FileName | None = Field(
        default=None,
        description="Name of the file. `gauntlet data fetch VICTIM/NAME` puts it into the data "
        "folder. Default: `files` names several.",
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="SHA-256 of the bytes of `file`, in hexadecimal. Default: as for `file`.",
    )
    files: dict[FileName, Sha256] = Field(
        default_factory=dict,
        description="Name of each file → SHA-256 of its bytes, in place of `file` and `sha256`, "
        "for example `{W1.npy: 27ab…, W2.npy: 90cd…}`. Default: one file.",
    )
    license: str = Field(description="License of the weights.")
    source: str = Field(
        description="Address that the file is downloaded from. One that ends in `/` is a folder's: "
        "the file's name is added."
    )
    trained_on: Line | None = Field(
        default=None,
        description="Data that the weights were trained on, for example `CIFAR-10 and 500,000 "
        "pictures of 80 Million Tiny Images`. Default: not said.",
    )
    claims: List[Claim] = Field(
        default=(),
        description="Figures that the authors claim, at most one a metric. Default: none.",
    )
    proven: List[Bound] = Field(
        default=(),
        description="What verifiers have proven of the network, shown beside what attacks leave. "
        "Default: nothing.",
    )
    variant: Name | None = Field(
        default=None,
        description="Variant of the victim that the weights belong to. Default: the module "
        "without a variant.",
    )
    start: bool = Field(
        default=False,
        description="`true`: training starts from the weights, with a new last layer. Where a "
        "matrix names no public data, they are the public network, which offers an attack "
        "`features` and `maps` alone. Default: the weights take the place of training.",
    )

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each file, by its name."""
        return dict(self.files) or {str(self.file): str(self.sha256)}

    def address(self, file: str) -> str:
        """Return the address of one of the files."""
        return self.source + file if self.source.endswith("/") else self.source

    def problems(self) -> Iterator[Problem]:
        """Check that files are named in one way, and that no metric is claimed twice."""
        for name, value in (("file", self.file), ("sha256", self.sha256)):
            if value is None and not self.files:
                yield Problem((name,), "missing", f"add {name}")
            elif value is not None and self.files:
                yield Problem((name,), "stands beside files", "name every file once, in files")
        if len(self.files) > 1 and not self.source.endswith("/"):
            what = "several files and the address of one"
            yield Problem(("source",), what, "give the address of their folder, with / at its end")
        metrics = [claim.metric for claim in self.claims]
        for i, metric in enumerate(metrics):
            if metric in metrics[:i]:
                what = f"duplicate claim of {metric}"
                yield Problem(("claims", i, "metric"), what, "keep one")
