"""Print the table of cheats, with what the board shows of each, in Markdown.

``python -m tests.traps.cheat_table [--executor docker] [--examples 500] [--seeds 0 1]``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harness.report.tables import Row
from tests.support.workspaces import Checkout
from tests.traps.cheat_run import (
    ATTACKS,
    GROUPS,
    Found,
    Scale,
    gradients_alone,
    play,
    signs,
)
from tests.traps.cheats import CHEATS


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", default="local", choices=["local", "docker"])
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    parser.add_argument("--only", nargs="+", default=[], choices=list(CHEATS), metavar="CHEAT")
    parser.add_argument("--folder", type=Path, help="keep the checkout here")
    options = parser.parse_args()
    scale = Scale(options.examples, tuple(options.seeds), options.attacks, options.groups)
    with tempfile.TemporaryDirectory(prefix="c-") as temporary:
        started = time.monotonic()
        found = play(
            Checkout(options.folder or Path(temporary)), scale, options.executor, options.only
        )
        found.seconds = time.monotonic() - started
    print("\n".join(lines(found)))


HEAD = ("defence", "what it does", "without", "gradients alone", "on the board", "single attacks")


def lines(found: Found) -> list[str]:
    """Return the table's lines, honest defences first; scores are in points."""
    rows = [
        columns(found, *place)
        for place in sorted(found.rows, key=lambda place: place[1] in CHEATS)
        if place[1] not in CHEATS or place[0] in (CHEATS[place[1]].group, "eot")
    ]
    rule = ["---"] * len(HEAD)
    table = [f"| {' | '.join(row)} |" for row in (HEAD, rule, *rows)]
    return [*table, "", f"{found.seconds:.0f} s"]


def columns(found: Found, group: str, name: str) -> list[str]:
    """Return the columns of a defence."""
    row, cheat = found.rows[group, name], CHEATS.get(name)
    end = ", ".join([score(row), *signs(row)])
    if cheat is None or group != cheat.group:
        return [f"{name} ({group})", "", "", percent(gradients_alone(row)), end, cells(row)]
    end = f"**{found.end(name)}**: {end}"
    without = percent(found.level(cheat))
    return [name, cheat.tries, without, percent(gradients_alone(row)), end, cells(row)]


def percent(value: float | None) -> str:
    """Return a share in points."""
    return "–" if value is None else f"{100 * value:.1f}"


def score(row: Row) -> str:
    """Return a row's place and robust score."""
    value = percent(row.score.value if row.score else None)
    return f"{row.rank}. {value}" if row.rank else f"not ranked, {row.bound} {value}"


def cells(row: Row) -> str:
    """Return the figures of a row's columns."""
    return ", ".join(
        f"{cell.attack} {percent(cell.score.value) if cell.score else cell.word}"
        + "".join(f" ({flag.name})" for flag in cell.flags)
        for cell in row.cells
    )


if __name__ == "__main__":
    main()
