"""Probes that write unusual output, or change their inputs."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from harness.runtime.contracts import Context, Data


def big_file(ctx: Context, size: int) -> None:
    """Write a file of pseudo-random bytes that the host can make again."""
    block = bytes(range(256)) * 4096
    with (ctx.state / "big.bin").open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)


def big_log(lines: int) -> None:
    """Write a long log with a mark at each end."""
    sys.stdout.write("the first line: ε\n")
    for _ in range(lines // 1000):
        sys.stdout.write(("x" * 99 + "\n") * 1000)
    sys.stdout.write("the last line: 你好 \U0001f600\n")


def odd_names(ctx: Context, names: list[str]) -> None:
    """Write files with names that break careless code, one of them not valid in any encoding."""
    for name in names:
        (ctx.state / name).write_text(name, encoding="utf-8")
    (ctx.state / os.fsdecode(b"bytes-\xff\xfe")).write_text("bytes", encoding="utf-8")
    (ctx.state / "empty").mkdir()


def strange(ctx: Context, kind: str, target: str) -> None:
    """Write an output that is not a plain file, or a log that is a link."""
    out = ctx.state.parent
    if kind == "link":
        (ctx.state / "link").symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(ctx.state / "fifo")
    elif kind == "hard link":
        (ctx.state / "one").write_text("one", encoding="utf-8")
        os.link(ctx.state / "one", ctx.state / "two")
    elif kind == "log":
        (out / "log.txt").symlink_to(target)
    elif kind == "folder":
        shutil.rmtree(out)
        out.symlink_to(Path(target).parent)
    elif kind == "depth":
        os.chdir(ctx.state)
        for _ in range(1500):
            os.mkdir("deep")
            os.chdir("deep")


def changes_in_memory(train: Data) -> dict[str, int]:
    """Change the granted arrays through their memory maps."""
    before = int(train.raw.sum())
    train.raw.add_(1)
    train.ids.mul_(0)
    return {"before": before, "after": int(train.raw.sum())}


def changes_on_disk(path: str) -> dict[str, str]:
    """Change a granted file by the path that the worker uses."""
    folder = input_folder("train")
    try:
        with (folder / path).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\xee")
    except OSError as error:
        return {"refused": str(error)}
    return {}


def input_folder(name: str) -> Path:
    """Return the folder of an input, taken from the worker's frame."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        inputs = getattr(frame.f_locals.get("job"), "inputs", None)
        if inputs is not None:
            return Path(inputs[name])
    raise RuntimeError("no frame of the worker was found")


def keeps(ctx: Context, then: str) -> dict[str, int]:
    """Count the runs in the checkpoint folder; ``then`` says how this one ends."""
    lives = ctx.checkpoint / "lives"
    before = lives.read_text(encoding="ascii") if lives.exists() else ""
    lives.write_text(before + "x", encoding="ascii")
    if then == "sleep":
        time.sleep(60)
    return {"lives": len(before) + 1}


def marks(ctx: Context, name: str, asleep: float) -> dict[str, list[str]]:
    """Write a mark to scratch, wait until the other stage has done so, and list the marks."""
    (ctx.scratch / name).touch()
    time.sleep(asleep)
    return {"scratch": sorted(os.listdir(ctx.scratch))}
