"""Albums of attention pictures, made once for their records and copied while these are the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from harness.common.files import write_json
from harness.common.keys import code_digest, digest
from harness.judge.attention import areas
from harness.report.cells import Record
from harness.report.site.attention import Attention
from harness.report.site.attention_choice import (
    AttentionFrames,
    Score,
    choose,
    conditions,
    score,
)
from harness.report.site.attention_pictures import grid
from harness.report.site.gallery import FOLDER

Loader = Callable[[Record], AttentionFrames | None]
"""Record → its first examples with their maps; ``None`` without its artefacts."""

_CODE = (
    "judge/attention.py",
    "report/site/albums.py",
    "report/site/attention_choice.py",
    "report/site/attention_pictures.py",
)


@dataclass(frozen=True)
class Shown:
    """One picture of an album.

    Attributes:
        file: name of the file: place in the test split, then the class.
        index: that place.
        label: name of the class.
        width: width of the picture in pixels.
        height: height of the picture in pixels.
        scores: the networks, from top to bottom.
    """

    file: str
    index: int
    label: str
    width: int
    height: int
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Album:
    """Pictures of one attack on all networks of a victim.

    Attributes:
        path: its folder below the site's root.
        candidates: number of examples that pictures were chosen among.
        fits: whether the chosen ones meet the conditions.
        objects: whether the data set has boxes of objects.
        classes: names of the classes.
        shown: the pictures.
    """

    path: str
    candidates: int
    fits: bool
    objects: bool
    classes: tuple[str, ...]
    shown: tuple[Shown, ...]

    @classmethod
    def from_json(cls, text: str) -> Album:
        """Read the text of ``album.json``.

        Raises:
            ValueError, TypeError, KeyError: it is none.
        """
        raw = json.loads(text)
        shown = tuple(
            Shown(**one | {"scores": tuple(_score(made) for made in one["scores"])})
            for one in raw["shown"]
        )
        return cls(**raw | {"shown": shown, "classes": tuple(raw["classes"])})


def _score(raw: dict[str, list[object]]) -> Score:
    return Score(**raw | {name: tuple(raw[name]) for name in ("masses", "conditions")})  # type: ignore[arg-type]


class Albums:
    """Albums of a site that is being built.

    Args:
        load: reads the frames of a record.
        old: the present site.
        new: the site that is being built.
    """

    def __init__(self, load: Loader, old: Path, new: Path) -> None:
        self.load, self.old, self.new = load, old, new

    @cached_property
    def _code(self) -> str:
        return code_digest(_CODE)

    def of(self, one: Attention) -> Album | None:
        """Return the album of an attack, ``None`` where artefacts of a network are missing."""
        records = [line.record for line in one.pictured if line.record]
        made = [[record.key, record.result] for record in records]
        path = f"{FOLDER}/{digest([made, one.mode, self._code])[:32]}"
        return self._copy(path) or self._make(path, one)

    def _copy(self, path: str) -> Album | None:
        """Copy an album of the old site."""
        try:
            album = Album.from_json((self.old / path / "album.json").read_text(encoding="utf-8"))
            shutil.copytree(self.old / path, self.new / path, dirs_exist_ok=True)
        except (OSError, ValueError, TypeError, KeyError, shutil.Error):
            return None
        return album

    def _make(self, path: str, one: Attention) -> Album | None:
        """Choose the pictures, and write them with the album's figures."""
        found: list[tuple[str, AttentionFrames]] = []
        for line in one.pictured:
            frames = self.load(line.record) if line.record else None
            if frames is None or not len(frames.index) or one.mode not in frames.looks:
                return None
            found.append((line.defense, frames))
        first = found[0][1]
        rows, fits = choose([conditions(frames, frames.looks[one.mode]) for _, frames in found])
        (self.new / path).mkdir(parents=True, exist_ok=True)
        album = Album(
            path=path,
            candidates=len(first.index),
            fits=fits,
            objects=bool(areas(first.looks[one.mode].places.objects).any()),
            classes=first.classes,
            shown=tuple(self._draw(path, found, one.mode, row) for row in rows),
        )
        write_json(self.new / path / "album.json", asdict(album))
        return album

    def _draw(
        self, path: str, found: list[tuple[str, AttentionFrames]], mode: str, row: int
    ) -> Shown:
        first = found[0][1]
        looks = [frames.looks[mode] for _, frames in found]
        maps = [(one.maps_before[row], one.maps_after[row]) for one in looks]
        picture = grid(first.image[row], first.attacked[row], maps)
        index, number = int(first.index[row]), int(first.label[row])
        label = first.classes[number] if number < len(first.classes) else str(number)
        name = f"{index}_{file_word(label)}.png"
        Image.fromarray(picture).save(self.new / path / name)
        return Shown(
            file=name,
            index=index,
            label=label,
            width=picture.shape[1],
            height=picture.shape[0],
            scores=tuple(score(defense, frames, mode, row) for defense, frames in found),
        )


def file_word(name: str) -> str:
    """Return a class's name as a part of a file's name; the example's index is the unique part.

    >>> file_word("Priority road"), file_word("停")
    ('priority-road', 'class')
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "class"
