"""Comparison lists and what they compare: found in a folder, cut into splits, stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from harness.common.errors import UserError
from harness.datasets.base import Ids, hash_order, identities
from harness.datasets.pictures import archives, tar_images, unreadable
from harness.datasets.ranking import gallery
from harness.datasets.ranking.compared import LINES, PARTS, save
from harness.datasets.ranking.grammars import Grammar
from harness.datasets.ranking.judgements import majority
from harness.datasets.ranking.lists import Row, parse

LARGEST = 1 << 28
"""Bytes of a list; more is not what it says it is."""

Rows = dict[str, list[Row]]
"""Part → its judgements, in the list's order."""


@dataclass(frozen=True)
class Form:
    """How the lists of a set lie in a person's folder, and how they become splits.

    Attributes:
        layouts: part → file, below one of ``places``; the first that is whole is read.
        places: folders in which a layout may lie, ``""`` or ending in a slash.
        shares: part → share of train's groups that it gets where the layout has no list for it.
        images: the items are image files; else they are numbers below ``grammar.items``.
        votes: mark those of the majority.
    """

    name: str
    grammar: Grammar
    layouts: tuple[Mapping[str, str], ...]
    places: tuple[str, ...]
    shares: Mapping[str, float]
    accepted: str
    images: bool = True
    votes: bool = False


@dataclass(frozen=True)
class Text:
    """A list as it was found: where, for messages, and its bytes."""

    where: str
    blob: bytes


def fill(form: Form, source: Path, out: Path) -> dict[str, object]:
    """Read the lists of a folder and store them; what the manifest says of them.

    Raises:
        UserError: a list or an image is missing or malformed.
    """
    place, layout, texts = _find(source, form)
    given = {part: parse(texts[part].blob, texts[part].where, form.grammar) for part in layout}
    rows = _cut(form, given)
    names = {part: sorted({item for row in rows[part] for item in row.items}) for part in PARTS}
    files = {layout[part]: hashlib.sha256(texts[part].blob).hexdigest() for part in layout}
    if form.images:
        places = (f"{place}imgs", f"{place}images", "imgs", "images")
        files |= gallery.write(source, places, names, out, form.name)
    else:
        count = form.grammar.items or 0
        names = {part: [str(item) for item in range(count)] for part in PARTS}
        for part in PARTS:
            save(out, f"{part}_x", np.arange(count, dtype=np.int64))
    _store(form, rows, names, out)
    return {
        "files": files,
        "lossy": form.images,
        "note": _note(form, rows, given),
        "counts": {part: len(rows[part]) for part in PARTS},
    }


def _find(source: Path, form: Form) -> tuple[str, Mapping[str, str], dict[str, Text]]:
    """The place and the layout that are there, and their lists by part."""
    wanted = {place + file for layout in form.layouts for file in layout.values()
              for place in form.places}  # fmt: skip
    found = _texts(source, wanted)
    for layout in form.layouts:
        for place in form.places:
            if all(place + file in found for file in layout.values()):
                return place, layout, {part: found[place + file] for part, file in layout.items()}
    have = f"has only {', '.join(sorted(found))}" if found else f"nothing in it is {form.name}"
    raise UserError(str(source), have, f"give a folder with {form.accepted}")


def _texts(source: Path, wanted: set[str]) -> dict[str, Text]:
    """The wanted files that are there, in the folder or in archives in it."""
    found: dict[str, Text] = {}
    try:
        for name in sorted(wanted):
            if (source / name).is_file():
                found[name] = Text(str(source / name), (source / name).read_bytes())
        tars = archives(source)
    except OSError as error:
        raise unreadable(source, error) from error
    for archive in tars:
        for member, blob in tar_images(archive, lambda m: m.removeprefix("./") in wanted, LARGEST):
            name, where = member.removeprefix("./"), f"{archive}: {member}"
            if name in found:
                raise UserError(where, f"is also {found[name].where}", "leave one of them")
            found[name] = Text(where, blob)
    return found


def _cut(form: Form, given: Rows) -> Rows:
    """Every part's rows: as given, or cut from train by group, so that no comparison is in two."""
    rows = dict(given)
    train = rows["train"]
    groups = sorted({row.group for row in train})
    order = hash_order(identities(f"{form.name}/group", groups), f"{form.name}/parts")
    home, taken = dict.fromkeys(groups, "train"), 0
    for part, share in form.shares.items():
        if part in rows:
            continue
        count = round(share * len(groups))
        home |= dict.fromkeys([groups[at] for at in order[taken : taken + count]], part)
        rows[part] = [row for row in train if home[row.group] == part]
        taken += count
    rows["train"] = [row for row in train if home[row.group] == "train"]
    for part in PARTS:
        if not rows[part]:
            what = f"{len(train):,} training rows leave none for {part}"
            raise UserError(f"data set {form.name}", what, "give the whole list")
    return rows


def _store(form: Form, rows: Rows, names: Mapping[str, Sequence[str]], out: Path) -> None:
    # Over all parts, so that a judgement that stands in two of them has two ids.
    keys = chain.from_iterable((row.key for row in rows[part]) for part in PARTS)
    ids = np.split(identities(form.name, keys), np.cumsum([len(rows[part]) for part in PARTS])[:2])
    for part, own in zip(PARTS, ids, strict=True):
        save(out, f"{part}_y", _labels(rows[part], names[part]))
        save(out, f"{part}_ids", own)
        if form.votes:
            save(out, f"{part}_voted", majority(rows[part]))
    save(out, LINES, np.array([row.line.encode() for row in rows["train"]], dtype=np.bytes_))


def _labels(rows: Sequence[Row], names: Sequence[str]) -> Ids:
    """Int64 ``[n, arity + 2]``: item rows, label, attribute."""
    place = {name: number for number, name in enumerate(names)}
    return np.array(
        [[*(place[item] for item in row.items), row.label, row.attribute] for row in rows],
        dtype=np.int64,
    )


def _note(form: Form, rows: Rows, given: Rows) -> str:
    """What a reader of results has to know of this copy, or nothing."""
    cut = [part for part in form.shares if part not in given]
    notes = [f"{' and '.join(cut)} cut from the training list"] if cut else []
    train = {row.group for row in rows["train"]}
    for part in ("val", "test"):
        if shared := sum(row.group in train for row in rows[part]):
            notes.append(f"{shared:,} {part} rows compare what train compares")
    return "; ".join(notes)
