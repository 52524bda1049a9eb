"""The command line: parse arguments, call ``harness.commands``, turn errors into exit codes."""

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
    help="Run every attack against every defence on every victim.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(rich_markup_mode=None)
app.add_typer(data_app, name="data")
console = Terminal()

INTERRUPTED = 130

Bench = Annotated[str, typer.Argument(help="a benchmark's name or path", metavar="BENCH")]
Place = Annotated[str, typer.Option(help="docker, local, or auto: docker if an engine answers")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="device that networks run on")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="only these cells, such as attack=pgd; may be repeated",
        metavar="COLUMN=LABEL",
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="add a module to matrices that fit; may be repeated",
        metavar="KIND=NAME",
    ),
]


def parse_only(only: list[str] | None) -> dict[str, set[str]]:
    """Parse the values of ``--only``.

    >>> parse_only(["attack=pgd"])
    {'attack': {'pgd'}}

    Raises:
        UserError: not of the form COLUMN=LABEL, or no such column.
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
    fresh: Annotated[
        bool, typer.Option(help="docker: start a new container for every stage")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="stages run at once; default: one a core")
    ] = None,
    device: Device = "cpu",
    gpus: Annotated[
        str, typer.Option(help="with --device cuda: numbers of GPUs, such as 0,1")
    ] = "0",
    only: Only = None,
    with_: With = None,
    retry_failed: Annotated[bool, typer.Option(help="run failed stages again")] = False,
    keep_all: Annotated[
        bool, typer.Option(help="keep attacked inputs and edited training sets")
    ] = False,
    mirror: Annotated[
        str | None, typer.Option(help="folder or URL of a shared copy of the store")
    ] = None,
) -> None:
    """Run the cells of a benchmark that have no record yet."""
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
        added=with_ or (),
        retry_failed=retry_failed,
        keep_all=keep_all,
        mirror=mirror,
        console=console,
    )


@app.command()
def plan(
    bench: Bench,
    why: Annotated[
        str | None, typer.Option(help="explain why one cell's stages would run", metavar="CELL")
    ] = None,
    only: Only = None,
    with_: With = None,
    executor: Place = "auto",
    device: Device = "cpu",
) -> None:
    """Print what a run would do, with expected time and disk."""
    from harness.commands import plan as command

    command.plan(
        Workspace.here(),
        bench,
        why=why,
        only=parse_only(only),
        added=with_ or (),
        device=device,
        executor=executor,
        console=console,
    )


@app.command()
def images(
    build: Annotated[bool, typer.Option(help="build missing images")] = False,
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
def show(
    cell: Annotated[
        str, typer.Argument(help="a cell's id or a unique part of it, or a record's digest")
    ],
) -> None:
    """Show the record of a cell that counts."""
    from harness.commands import show as command

    command.show(Workspace.here(), cell, console)


@app.command()
def export(
    cell: Annotated[
        str, typer.Argument(help="id of a poisoning cell of comparisons, or part of it")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="file to write; default: standard output")
    ] = None,
) -> None:
    """Write a training list of comparisons as the attack left it."""
    from harness.commands import export as command

    command.export(Workspace.here(), cell, out, console)


@app.command()
def report(
    open_: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
    attack: Annotated[
        str | None, typer.Option(help="print this attack against every defence", metavar="NAME")
    ] = None,
    with_: With = None,
) -> None:
    """Build the leaderboard and print the first rows."""
    from harness.commands import report as command

    command.report(Workspace.here(), open_=open_, console=console, attack=attack, added=with_ or ())


@app.command()
def check(
    path: Annotated[
        Path | None,
        typer.Argument(help="folder of a module or benchmark, or a data set; default: all"),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="where a module's code runs: local, docker or auto")
    ] = "local",
    from_: Annotated[
        Path | None, typer.Option("--from", help="read the data set from this folder")
    ] = None,
) -> None:
    """Test a module or a data set, or validate all files."""
    from harness.commands import check as command

    command.check(Workspace.here(), path, executor, console, from_)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="attack, defense, victim or dataset")],
    name: Annotated[str, typer.Argument(help="name of the new folder or data set")],
    from_: Annotated[
        Path | None, typer.Option("--from", help="dataset: folder with the data")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="dataset: manifest to write")] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="victim: file of trained weights; may be repeated"),
    ] = None,
) -> None:
    """Write the folder of a new module, or a data set's manifest."""
    from harness.commands import new as command
    from harness.commands.new_dataset import new_dataset

    if kind == "dataset":
        new_dataset(Workspace.here(), name, from_, out, console)
        return
    command.new(Workspace.here(), kind, name, console, weights or ())


@app.command()
def enter(
    module: Annotated[
        str, typer.Argument(help="KIND/NAME or KIND/NAME/VARIANT", metavar="KIND/NAME")
    ],
    benches: Annotated[list[str], typer.Argument(help="benchmarks", metavar="BENCH...")],
) -> None:
    """Write a module into the matrices of benchmarks that fit."""
    from harness.commands import enter as command

    command.enter(Workspace.here(), module, benches, console)


@app.command()
def requirements(
    folder: Annotated[Path, typer.Argument(help="folder of a module with a requirements.in")],
) -> None:
    """Write all pins that a module needs beside the base image."""
    from harness.commands import requirements as command

    command.requirements(folder, console)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="write one file each into this folder")] = None,
) -> None:
    """Print the JSON Schemas of manifests and benchmarks."""
    from harness.commands import schema as command

    command.schema(out, console)


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """List data sets and weights; fetch downloads one."""
    if context.invoked_subcommand is None:
        from harness.commands import data as command

        command.print_cards(Workspace.here(), console)


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


@data_app.command()
def digests(
    name: Annotated[str, typer.Argument(help="a data set that is stored here")],
) -> None:
    """Write the digest of a data set for machines without it."""
    from harness.commands import data as command

    command.write_digests(Workspace.here(), name, console)


@app.command()
def reproduce(
    cell: Annotated[
        str,
        typer.Argument(help="a cell's id, page (or its address), record file or digest"),
    ],
    executor: Annotated[
        str | None, typer.Option(help="docker, local or auto; default: as the record")
    ] = None,
) -> None:
    """Run a recorded cell again from scratch and compare."""
    from harness.commands import reproduce as command

    if not command.reproduce(Workspace.here(), cell, console, executor):
        raise typer.Exit(1)


@app.command()
def publish(
    benches: Annotated[
        list[str] | None, typer.Argument(help="benchmarks; default: all", metavar="[BENCH]...")
    ] = None,
    include_local: Annotated[
        bool, typer.Option(help="also publish records made without isolation")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="only print what would be copied")] = False,
    retract: Annotated[
        str | None, typer.Option(help="withdraw a published record instead", metavar="RECORD")
    ] = None,
    why: Annotated[
        str | None, typer.Option(help="with --retract: the reason, one sentence")
    ] = None,
) -> None:
    """Copy records to reports/records, for a pull request."""
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
    executor: Annotated[str, typer.Option(help="the executor to test: local or docker")] = "local",
) -> None:
    """Test an executor's isolation with stages that misbehave."""
    from harness.commands import selfcheck as command

    if not command.run(Workspace.here(), executor, console):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line and exit: 0 success, 1 user error, 2 wrong usage, 3 bug, 130 Ctrl-C.

    One of the two places that catch every exception; the other is the worker.
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
            errors.print("stopped; finished stages are kept")
        raise
    except Exception:  # noqa: BLE001
        traceback.print_exc()
        errors.print("This is a bug in gauntlet: please report it with the lines above.")
        sys.exit(3)


if __name__ == "__main__":
    main()
