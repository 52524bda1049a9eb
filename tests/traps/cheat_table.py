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
from tests.traps.cheat_run import ATTACKS, GROUPS, HONEST, Found, Scale, play, signs
from tests.traps.cheats import CHEATS, WITHOUT


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


def lines(found: Found) -> list[str]:
    """Return the table's lines; scores are in points."""
    more = [
        f"| {name} | {CHEATS[name].tries} | {percent(found.level(CHEATS[name]))} | "
        f"{end(found, name)} | {cells(row)} |"
        for (group, name), row in found.rows.items()
        if name in CHEATS and group == CHEATS[name].group
    ]
    honest = [
        f"| {name} ({group}) | | | {score(row)}{', '.join(('', *signs(row)))} | {cells(row)} |"
        for (group, name), row in found.rows.items()
        if name in HONEST or name in WITHOUT or group == "eot"
    ]
    head = ["| defence | what it does | without | on the board | single attacks |"]
    return [*head, "|---|---|--:|---|---|", *honest, *more, "", f"{found.seconds:.0f} s"]


def end(found: Found, name: str) -> str:
    """Return score and end of a cheat."""
    row = found.rows[CHEATS[name].group, name]
    return f"{score(row)}: **{found.end(name)}**{', '.join(('', *signs(row)))}"


def percent(value: float) -> str:
    """Return a share in points."""
    return f"{100 * value:.1f}"


def score(row: Row) -> str:
    """Return a row's place and robust score."""
    value = "–" if row.score is None else percent(row.score.value)
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
