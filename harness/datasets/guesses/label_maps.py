"""Guess of pairs of a picture and a class map."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from harness.common.errors import UserError
from harness.datasets.guesses.survey import (
    WORDS,
    Guess,
    Json,
    Survey,
    part_names,
    picture_fields,
    split_fields,
)
from harness.datasets.pictures.class_maps import read_class_map

HINT = re.compile(r"annot|mask|label|seg|ground|truth|(?<![a-z])gt(?![a-z])|maps?(?![a-z])", re.I)
"""What folders of class maps are called; equal names alone may be those of two classes."""
MOST_VALUES = 64
"""Values of a class map; a photograph has more."""
VOID = 255


def guess(files: Survey) -> Guess | None:
    """Return the guess that folders with a telling name hold the maps of others' pictures."""
    stems: dict[str, dict[str, str]] = defaultdict(dict)
    for name in files.pictures:
        folder, _, base = name.rpartition("/")
        stems[folder][base.rpartition(".")[0]] = base
    pairs = [pair for folder in stems if HINT.search(folder) for pair in _pair(folder, stems)]
    if not pairs:
        return None
    found = Counter(_templates(*pair, stems) for pair in pairs)
    (pictures, maps), _ = found.most_common(1)[0]
    own = [pair for pair in pairs if _templates(*pair, stems) == (pictures, maps)]
    paired = [
        (f"{folder}/{stems[folder][stem]}", f"{map_folder}/{stems[map_folder][stem]}")
        for folder, map_folder in own
        for stem in sorted(stems[folder].keys() & stems[map_folder].keys())
    ]
    values = _values(files, [map_ for _, map_ in paired])
    if not 1 < len(values) <= MOST_VALUES:
        return None
    layout: Json = {"pictures": pictures, "maps": maps}
    layout["values"] = {int(v): f"class {v}" for v in values if v != VOID}
    layout |= {"void": [VOID]} if VOID in values else {}
    parts = part_names(word for folder, _ in own if (word := _split_word(folder)))
    if parts and {part: [part] for part in parts} != parts:
        layout["parts"] = {part: texts[0] for part, texts in parts.items()}
    picture, seen = picture_fields(files, [one for one, _ in paired])
    shares, cut = split_fields(parts)
    classes = len(layout["values"])
    said = f"classes: {classes}, from the values of the class maps; name them in the manifest"
    hint = "values: a value that is no class goes to void"
    void = [f"pixels without a class: {VOID}"] if VOID in values else [hint]
    said_pairs = f"pairs: {len(paired):,}, {pictures} and {maps}"
    return Guess(
        "segmentation",
        {"label_maps": layout},
        {**picture, **shares},
        (said_pairs, said, *void, *seen, *cut),
        share=min(1.0, 2 * len(paired) / len(files.pictures)),
    )


def _pair(map_folder: str, stems: Mapping[str, Mapping[str, str]]) -> Iterable[tuple[str, str]]:
    """Yield the folder whose pictures have most of the names of a folder of maps."""
    own = stems[map_folder].keys()
    others = [folder for folder in stems if not HINT.search(folder)]
    same_split = [one for one in others if _split_word(one) == _split_word(map_folder)]
    best = max(same_split, key=lambda one: len(own & stems[one].keys()), default=None)
    if best is not None and 2 * len(own & stems[best].keys()) > len(own):
        yield best, map_folder


def _templates(
    folder: str, map_folder: str, stems: Mapping[str, Mapping[str, str]]
) -> tuple[str, str]:
    """Return the templates of the pictures and of the maps of two folders."""
    word = _split_word(folder)
    made = []
    for one in (folder, map_folder):
        endings = {base.rpartition(".")[2] for base in stems[one].values()}
        name = f"{{name}}.{endings.pop()}" if len(endings) == 1 else "{name}"
        made.append(f"{one.replace(word, '{split}', 1) if word else one}/{name}".lstrip("/"))
    return made[0], made[1]


def _split_word(folder: str) -> str:
    """Return the word for a split that a folder's name has, as it stands there; or nothing."""
    words = sorted((word for known in WORDS.values() for word in known), key=len, reverse=True)
    match = re.search("|".join(words), folder, re.I)
    return match[0] if match else ""


def _values(files: Survey, names: Sequence[str]) -> list[int]:
    """Return the values that some class maps have; nothing if one is no class map."""
    found: set[int] = set()
    for name, blob in files.sample(names).items():
        try:
            numbers, _ = read_class_map(blob, name, None)
        except UserError:
            return []
        found.update(np.unique(numbers).tolist())
    return sorted(found)
