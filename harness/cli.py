"""The command line. Parses arguments, calls ``harness.commands``, turns errors into exit codes."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.common.errors import UserError
from harness.common.terminal import Terminal, make_streams_tolerant
from harness.workspace import Workspace

app = typer.Typer(
    name="gauntlet",
    help="Every attack against every defence on every victim, judged by nobody's own code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(rich_markup_mode=None)
app.add_typer(data_app, name="data")
console = Terminal()

INTERRUPTED = 130

Bench = Annotated[str, typer.Argument(help="a benchmark's name, or a path", metavar="BENCH")]
Place = Annotated[str, typer.Option(help="docker, local, or auto: docker where an engine answers")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="where networks run")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="column=label, such as attack=pgd; several labels of a column: any of them",
        metavar="COLUMN=LABEL",
    ),
]


def parse_only(only: list[str] | None) -> dict[str, set[str]]:
    """``["attack=pgd", "attack=fgsm"]`` → ``{"attack": {"pgd", "fgsm"}}``.

    Raises:
        UserError: not of that form, or no such column.
    """
    columns = ("matrix", "victim", "defense", "attack", "seed", "budget_label")
    found: dict[str, set[str]] = {}
    for text in only or []:
        column, equals, label = text.partition("=")
        if not equals or column not in columns:
            fix = f"write COLUMN=LABEL with one of {', '.join(columns)}"
            raise UserError("--only", f"cannot read {text!r}", fix)
        found.setdefault(column, set()).add(label)
    return found


@app.command()
def run(
    bench: Bench,
    executor: Place = "auto",
    fresh: Annotated[bool, typer.Option(help="docker: a new container for every stage")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="stages at once; default: cores")] = None,
    device: Device = "cpu",
    gpus: Annotated[str, typer.Option(help="with --device cuda: which, such as 0,1")] = "0",
    only: Only = None,
    retry_failed: Annotated[bool, typer.Option(help="run failed stages again")] = False,
    keep_all: Annotated[bool, typer.Option(help="keep attacked batches and edited sets")] = False,
    mirror: Annotated[
        str | None, typer.Option(help="folder or URL of a shared copy of the store")
    ] = None,
) -> None:
    """Run what a benchmark is missing; what is recorded is not run again."""
    from harness.commands import run as command

    command.run(
        Workspace.here(),
        bench,
        executor=executor,
        fresh=fresh,
        jobs=jobs,
        device=device,
        gpus=gpus,
        only=parse_only(only),
        retry_failed=retry_failed,
        keep_all=keep_all,
        mirror=mirror,
        console=console,
    )


@app.command()
def plan(
    bench: Bench,
    why: Annotated[
        str | None, typer.Option(help="explain one cell's stages", metavar="CELL")
    ] = None,
    only: Only = None,
    executor: Place = "auto",
    device: Device = "cpu",
) -> None:
    """Say what a run would do: cells, stages, what is cached, expected time and disk."""
    from harness.commands import plan as command

    command.plan(
        Workspace.here(),
        bench,
        why=why,
        only=parse_only(only),
        device=device,
        executor=executor,
        console=console,
    )


@app.command()
def images(
    build: Annotated[bool, typer.Option(help="build what is missing")] = False,
    prune: Annotated[bool, typer.Option(help="remove images that no module needs")] = False,
    device: Device = "cpu",
) -> None:
    """List the container images of this checkout's modules."""
    from harness.commands import images as command

    command.images(Workspace.here(), build=build, prune=prune, device=device, console=console)


@app.command("list")
def list_() -> None:
    """List modules, benchmarks and data sets."""
    from harness.commands import show as command

    command.list_all(Workspace.here(), console)


@app.command()
def show(cell: Annotated[str, typer.Argument(help="a cell's id, or a part of it")]) -> None:
    """Show the record of a cell that counts."""
    from harness.commands import show as command

    command.show(Workspace.here(), cell, console)


@app.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="a poisoning cell of comparisons, or a part of its id")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="a file; standard output if none")
    ] = None,
) -> None:
    """Write the training list of comparisons with the attack's flips in it."""
    from harness.commands import export as command

    command.export(Workspace.here(), cell, out, console)


@app.command()
def report(
    open_: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
) -> None:
    """Build the leaderboard pages and print the first rows of each table."""
    from harness.commands import report as command

    command.report(Workspace.here(), open_=open_, console=console)


@app.command()
def check(
    path: Annotated[
        Path | None, typer.Argument(help="a module's or benchmark's folder; default: everything")
    ] = None,
    executor: Annotated[
        str, typer.Option(help="where a module's code runs: local, docker or auto")
    ] = "local",
) -> None:
    """Check a folder with the conformance tests, or every manifest, benchmark and record."""
    from harness.commands import check as command

    command.check(Workspace.here(), path, executor, console)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="attack, defense or victim")],
    name: Annotated[str, typer.Argument(help="the new folder's name")],
) -> None:
    """Write a module's folder that passes check at once."""
    from harness.commands import new as command

    command.new(Workspace.here(), kind, name, console)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="write the schemas into this folder")] = None,
) -> None:
    """Print the JSON Schemas of manifests and benchmarks, for editors."""
    from harness.commands import schema as command

    command.schema(out, console)


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """Show the data cards; ``fetch`` gets a data set."""
    if context.invoked_subcommand is None:
        from harness.commands import data as command

        command.cards(Workspace.here(), console)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="a data set, or weights as VICTIM/NAME")],
    from_: Annotated[
        Path | None, typer.Option("--from", help="read from this folder instead of downloading")
    ] = None,
) -> None:
    """Download a data set or weights, or read them from a folder."""
    from harness.commands import data as command

    command.fetch(Workspace.here(), name, from_, console)


@app.command()
def reproduce(
    cell: Annotated[str, typer.Argument(help="a recorded cell's id, or a part of it")],
) -> None:
    """Run a recorded cell again from nothing and compare."""
    from harness.commands import reproduce as command

    if not command.reproduce(Workspace.here(), cell, console):
        raise typer.Exit(1)


@app.command()
def publish(
    benches: Annotated[
        list[str] | None, typer.Argument(help="benchmarks; default: all", metavar="[BENCH]...")
    ] = None,
    include_local: Annotated[
        bool, typer.Option(help="also records made without isolation")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="only say what would be copied")] = False,
    retract: Annotated[
        str | None, typer.Option(help="withdraw a published record instead", metavar="RECORD")
    ] = None,
    why: Annotated[str | None, typer.Option(help="with --retract: one sentence")] = None,
) -> None:
    """Copy records made in containers to reports/records, for a pull request."""
    from harness.commands import publish as command

    if retract is not None:
        command.retract(Workspace.here(), retract, why, console)
        return
    command.publish(
        Workspace.here(),
        benches or [],
        include_local=include_local,
        dry_run=dry_run,
        console=console,
    )


@app.command()
def clean(
    everything: Annotated[bool, typer.Option(help="empty the whole store")] = False,
) -> None:
    """Remove artefacts that no plan needs; records stay."""
    from harness.commands import clean as command

    command.clean(Workspace.here(), everything=everything, console=console)


@app.command()
def selfcheck(
    executor: Annotated[str, typer.Option(help="whose promises to try")] = "local",
) -> None:
    """Try every promise that an executor makes, with stages that misbehave."""
    from harness.commands import selfcheck as command

    if not command.run(Workspace.here(), executor, console):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: 0 fine, 1 a person's mistake, 2 wrong usage, 3 a bug of ours, 130 Ctrl-C.

    This is one of the two places where everything is caught.
    """
    make_streams_tolerant()
    errors = Terminal(stderr=True)
    try:
        app()
    except UserError as error:
        errors.print(str(error), style="red", soft_wrap=True)
        sys.exit(1)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:
            errors.print("stopped; what was computed is kept")
        raise
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        errors.print("This is a bug in gauntlet: please report it with the lines above.")
        sys.exit(3)


if __name__ == "__main__":
    main()
