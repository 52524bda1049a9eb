"""Pictures of cells as files of the site, made once a record and copied while it is unchanged."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from harness.common.files import write_json
from harness.common.keys import code_digest, digest
from harness.judge.metrics import image_iou
from harness.report.cells import CellRow, Record
from harness.report.site.classes import class_names
from harness.report.site.frames import (
    COLUMNS,
    Frames,
    Picture,
    compose,
    compose_common,
    factor,
    step,
)
from harness.report.worst_case import decode

FOLDER = "pictures"
ENDINGS = ("webp", "common.webp", "json")

Loader = Callable[[Record], Frames | None]
"""Record → its frames; ``None`` without its artefacts."""

_CODE = ("report/site/frames.py", "report/site/gallery.py", "report/site/palette.py")


@dataclass(frozen=True)
class FrameRow:
    """Figures of one image.

    Attributes:
        row: index of the image in the eval subset.
        linf: largest change.
        psnr: PSNR in dB, ``None`` where nothing changed.
        before: clean mean IoU, ``None`` where no pixel has a label.
        after: mean IoU under attack, ``None`` where no pixel has a label.
    """

    row: int
    linf: float
    psnr: float | None
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Shot:
    """The picture of one record.

    Attributes:
        name: name of its files below ``FOLDER``, without the ending.
        seed: seed of the record.
        width: width of a tile in pixels.
        height: height of a tile in pixels.
        every: step at which rows and columns are taken.
        factor: factor of the differences.
        common_factor: factor of the mean change.
        common: width and height of the tiles of the whole eval subset.
        rows: figures of the images.
        legend: number and name of each class in the picture.
        void: whether some pixel has no label.
        unnamed: whether some prediction names no class.
    """

    name: str
    seed: int
    width: int
    height: int
    every: int
    factor: float
    common_factor: float
    common: tuple[int, int]
    rows: tuple[FrameRow, ...]
    legend: tuple[tuple[int, str], ...]
    void: bool
    unnamed: bool


class Gallery:
    """Pictures of a site that is being built.

    Args:
        load: reads the frames of a record.
        old: the present site.
        new: the site that is being built.
    """

    def __init__(self, load: Loader, old: Path, new: Path) -> None:
        self.load, self.old, self.new = load, old / FOLDER, new / FOLDER

    def of(self, lines: Sequence[CellRow]) -> Shot | None:
        """Return the picture of the first seed that has one."""
        for line in lines:
            if line.status == "ok" and line.record and line.record.confusions:
                shot = self._copy(line.record) or self._make(line.record)
                if shot is not None:
                    return shot
        return None

    @cached_property
    def _code(self) -> str:
        return code_digest(_CODE)

    def _name(self, record: Record) -> str:
        return digest([record.key, record.result, self._code])[:32]

    def _copy(self, record: Record) -> Shot | None:
        """Copy the picture of the old site."""
        name = self._name(record)
        try:
            shot = _read(self.old / f"{name}.json")
            self.new.mkdir(parents=True, exist_ok=True)
            for ending in ENDINGS:
                shutil.copyfile(self.old / f"{name}.{ending}", self.new / f"{name}.{ending}")
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return shot

    def _make(self, record: Record) -> Shot | None:
        frames = self.load(record)
        if frames is None or not frames.rows:
            return None
        shot, tiles, common = _shot(self._name(record), record, frames)
        self.new.mkdir(parents=True, exist_ok=True)
        for ending, picture in (("webp", tiles), ("common.webp", common)):
            # Lossless: lossy compression would add its own patterns to those of the attack.
            Image.fromarray(picture).save(
                self.new / f"{shot.name}.{ending}", lossless=True, method=0
            )
        write_json(self.new / f"{shot.name}.json", asdict(shot))
        return shot


def _read(path: Path) -> Shot:
    raw = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(FrameRow(**row) for row in raw.pop("rows"))
    width, height = raw.pop("common")
    legend = tuple((int(number), str(name)) for number, name in raw.pop("legend"))
    return Shot(**raw, common=(int(width), int(height)), rows=rows, legend=legend)


def _shot(name: str, record: Record, frames: Frames) -> tuple[Shot, Picture, Picture]:
    names = class_names(record)
    k = factor(frames)
    tiles = compose(frames, len(names), k)
    common, common_factor = compose_common(frames)
    labelled = frames.truth != frames.void
    classes = {int(value) for value in np.unique(frames.truth[labelled])}
    classes |= {int(value) for part in (frames.before, frames.after) for value in np.unique(part)}
    shot = Shot(
        name=name,
        seed=record.cell.seed,
        width=tiles.shape[1] // len(COLUMNS),
        height=tiles.shape[0] // len(frames.rows),
        every=step(frames),
        factor=k,
        common_factor=common_factor,
        common=(common.shape[1] // 2, common.shape[0]),
        rows=_rows(record, frames),
        legend=tuple((i, name) for i, name in enumerate(names) if i in classes),
        void=bool((~labelled).any()),
        unnamed=any(value < 0 or value >= len(names) for value in classes),
    )
    return shot, tiles, common


def _rows(record: Record, frames: Frames) -> tuple[FrameRow, ...]:
    """Return the figures of each image: sizes as the judge measured them, IoU from the record."""
    outcome = decode(record)
    maps = outcome.confusions if outcome else {}
    before, after = (
        image_iou(maps[part][frames.rows]) if part in maps else np.full(len(frames.rows), np.nan)
        for part in ("before", "after")
    )
    return tuple(
        FrameRow(
            row,
            linf=float(frames.linf[i]),
            psnr=-10 * math.log10(frames.mse[i]) if frames.mse[i] > 0 else None,
            before=None if np.isnan(before[i]) else float(before[i]),
            after=None if np.isnan(after[i]) else float(after[i]),
        )
        for i, row in enumerate(frames.rows)
    )
