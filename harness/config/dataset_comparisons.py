"""Layouts of sets whose examples are comparisons: lists, and ranked features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from harness.config.dataset_fields import PAIR, TRIPLET, Layout, Part, Template, template_fields
from harness.config.field_types import Count, NonEmpty, NonEmptySet
from harness.config.file_model import Problem


class Comparisons(Layout):
    """Lists of pairs or triplets, with items as pictures or as numbers."""

    columns: NonEmptySet[
        Literal["u", "v", "a", "p", "q", "label", "attribute", "pair", "strength", "weight"]
    ] = Field(
        description="Columns in order: items `u` and `v` of a pair, or `a`, `p` and `q` of a "
        "triplet (`a` is nearer to `p` than to `q`); `label` (1: `u` has more, -1: `v`; without "
        "the column 1), `attribute` (number from 0), `pair` (id), `strength` (votes), `weight` "
        "(1)."
    )
    lists: NonEmpty[dict[Part, Template]] = Field(
        description="Split → its list; of several alternatives, the first whose files are all "
        "there is read."
    )
    pictures: NonEmpty[Template] = Field(
        default=("imgs/{item}", "images/{item}"),
        description="Templates of the items' pictures, where `{item}` is what a list calls it, in "
        'any case. Default: `["imgs/{item}", "images/{item}"]`.',
    )
    items: Count | None = Field(
        default=None,
        description="Number of items that are known by number, from 0, without pictures. Default: "
        "items have pictures.",
    )
    dimensions: Count | None = Field(
        default=None,
        description="Dimensions of the embedding that triplets ask for. Default: none; pairs ask "
        "for one score for each attribute.",
    )
    vote: bool = Field(
        default=False,
        description="`true`: of repeated comparisons, the majority's counts once, and none where "
        "votes tie. Default: `false`.",
    )

    @property
    def arity(self) -> int:
        """Number of items in a row: 2 or 3."""
        return 3 if set(self.columns) >= TRIPLET else 2

    def problems(self) -> Iterator[Problem]:
        """Check that a row compares items, and that there are lists and pictures of them."""
        if set(self.columns) & (PAIR | TRIPLET) not in (PAIR, TRIPLET):
            fix = "name u and v for pairs, or a, p and q for triplets"
            yield Problem(("columns",), "its items are neither a pair nor a triplet", fix)
        elif (self.dimensions is not None) != (self.arity == 3):
            what = "triplets need it" if self.arity == 3 else "means nothing for pairs"
            fix = "add it" if self.arity == 3 else "remove it"
            yield Problem(("dimensions",), what, fix)
        for place, files in enumerate(self.lists):
            if not files or any(template_fields(file) for file in files.values()):
                what, fix = "expected files by split, without fields", "write {train: train.txt}"
                yield Problem(("lists", place), what, fix)
        for place, template in enumerate(self.pictures):
            if "item" not in template_fields(template):
                yield Problem(("pictures", place), "has no {item}", "write imgs/{item}")


class RankedFeatures(Layout):
    """Features of items and the ranks of their groups, from which pairs are drawn.

    Attributes are named by ``classes``. Pairs are drawn by hash; validation has other pairs of the
    same items as training. Features are scaled to [0, 1] by their range in training.
    """

    file: Template = Field(description="The MATLAB file.")
    features: str = Field(description="Variable with the features, `[items, features]`.")
    labels: str = Field(description="Variable with the group of each item, from 1.")
    ranks: str = Field(
        description="Variable with whole numbers, `[attributes, groups]`; larger is more."
    )
    train: str = Field(description="Variable that is not 0 for items of the training set.")
    pairs: dict[Part, Count] = Field(description="Split → pairs drawn for each attribute.")
    feature_count: Count | None = Field(
        default=None,
        description="Number of features, to plan without the file; another is refused. Default: "
        "that of the file.",
    )

    def problems(self) -> Iterator[Problem]:
        """Check that the variables are different ones, and that there are pairs."""
        names = (self.features, self.labels, self.ranks, self.train)
        if len(set(names)) < len(names):
            yield Problem((), "names one variable twice", "name four different ones")
        if not self.pairs:
            yield Problem(("pairs",), "expected numbers by split, found {}", "write {train: 300}")
