"""Guess of pictures in one folder for each class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.common.text import list_first
from harness.datasets.guesses.survey import (
    Guess,
    Json,
    Survey,
    counted_classes,
    named_parts,
    part_names,
    part_of,
    picture_fields,
    split_fields,
)

Folders = tuple[str, ...]

GROUPS = {
    "group": "the folders below a class",
    "track": "beginnings of names, as of frames of one track",
}
"""Field of a template → what its groups are."""
LIST = re.compile(r"(?<!readme)(?<!license)\.(?:txt|csv|mat)\Z", re.I)


def guess(files: Survey) -> Guess | None:
    """Return the guess that the last folders that vary are classes; ``None``: none do."""
    found = [(tuple(name.split("/")[:-1]), name) for name in files.pictures]
    if not found:
        return None
    depth = Counter(len(folders) for folders, _ in found).most_common(1)[0][0]
    own = [(folders, name) for folders, name in found if len(folders) == depth]
    levels = [sorted({folders[level] for folders, _ in own}) for level in range(depth)]
    kinds = [_kind(texts) for texts in levels]
    if kinds.count("varies") not in (1, 2) or kinds.count("split") > 1:
        return None
    template, group = _template(levels, kinds)
    if not group and (tracks := _tracks(own)):
        template, group = template.replace("{name}", f"{{track}}{tracks}{{frame}}"), "track"
    outer = [texts[0] for texts, kind in zip(levels, kinds, strict=True) if kind == "constant"]
    level = kinds.index("varies")
    split = kinds.index("split") if "split" in kinds else None
    parts = part_names([] if split is None else levels[split])
    classes, said = counted_classes(levels[level], "the folders' names")
    layout: Json = {"files": [template]} if template != "{split}/{class}/{name}" else {}
    layout |= named_parts(parts)
    layout |= {"group": f"{{class}}/{{{group}}}"} if group else {}
    picture, seen = picture_fields(files, [name for _, name in own])
    shares, cut = split_fields(parts)
    lines = [said, *seen, *cut]
    lines += [f"groups: {GROUPS[group]}; a group is in one split"] if group else []
    if (odd := len(found) - len(own)) > 0:
        other = next(name for folders, name in found if len(folders) != depth)
        lines.append(f"not read: {odd:,} pictures that lie otherwise ({other})")
    lines += [f"folders around all: {'/'.join(outer)}"] if outer else []
    lists = [name for name in files.names if LIST.search(name)]
    unused = f"not used: {list_first(lists, 3)}; if splits stand there, see layout tables"
    lines += [unused] if lists else []
    return Guess(
        "classification",
        {"class_folders": layout},
        {**classes, **picture, **shares},
        tuple(lines),
        share=len(own) / len(found),
    )


def _kind(texts: Sequence[str]) -> str:
    """Return what the folders of a level are: split, constant, or varying."""
    if all(part_of(text) is not None for text in texts):
        return "split"
    return "constant" if len(texts) == 1 else "varies"


def _template(levels: Sequence[Sequence[str]], kinds: Sequence[str]) -> tuple[str, str]:
    """Return the template of the pictures, and the field of a second varying level, a group."""
    fields = iter(("{class}", "{group}"))
    parts = [
        "{split}" if kind == "split" else texts[0] if kind == "constant" else next(fields)
        for texts, kind in zip(levels, kinds, strict=True)
    ]
    return "/".join([*parts, "{name}"]), "group" if "{group}" in parts else ""


def _tracks(own: Sequence[tuple[Folders, str]]) -> str:
    """Return what joins track and frame in names such as ``00003_00017.ppm``; else nothing.

    In most folders there must be several beginnings, each of several names that end in a number:
    ``cat_0001`` has one beginning, ``Laysan_Albatross_0046_18`` a name for each.
    """
    for mark in "_-":
        folders: dict[Folders, Counter[str]] = {}
        for at, name in own:
            match = re.fullmatch(rf"(.+){mark}\d+", name.rpartition("/")[2].rpartition(".")[0])
            if match is None:
                break
            folders.setdefault(at, Counter())[match[1]] += 1
        else:
            fit = [len(one) > 1 and sum(one.values()) > 2 * len(one) for one in folders.values()]
            if 2 * sum(fit) > len(fit):
                return mark
    return ""
