"""Makes .venv hold what requirements/lock.txt says, and this checkout (and nothing if it does).

Started by make with a supported Python; needs the standard library only, because it runs before
anything is installed. Everything that pip says goes to .venv/install.log.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = VENV / "bin" / "pip"
LOG = VENV / "install.log"
STAMP = VENV / ".installed"
LOCK = ROOT / "requirements" / "lock.txt"
PROJECT = ROOT / "pyproject.toml"
QUIET_SECONDS = 15.0
"""Without a terminal, at most one line of progress in this time."""

# Lines of pip that tell how far it is.
COLLECTING = re.compile(r"Collecting ([\w.-]+)==")
DOWNLOADING = re.compile(r"\s+(?:Downloading|Using cached) \S+ \((.+)\)")


class InstallError(Exception):
    """pip failed; the message says what it said."""


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.spoke = self.started

    def show(self, text: str, *, stays: bool = False) -> None:
        """Say where we are; a line that ``stays`` is not overwritten and never left out."""
        now = time.monotonic()
        line = f"environment: {text}, {now - self.started:.0f} s"
        if sys.stdout.isatty():
            print(f"\r\033[K{line}", end="\n" if stays else "", flush=True)
        elif stays or now - self.spoke >= QUIET_SECONDS:
            self.spoke = now
            print(line, flush=True)


def main() -> int:
    """Install what is missing and stamp it; 1 with one message if that fails."""
    wanted = {"lock": digest(LOCK), "project": digest(PROJECT)}
    installed = read_stamp()
    if installed != wanted:
        try:
            install(lock=installed.get("lock") != wanted["lock"])
        except (InstallError, OSError, subprocess.CalledProcessError) as error:
            print(f"\nenvironment: {error}", file=sys.stderr)
            return 1
        STAMP.write_text("".join(f"{name} {value}\n" for name, value in wanted.items()))
    STAMP.touch()  # make compares times, we compare contents
    return 0


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_stamp() -> dict[str, str]:
    """What the last complete installation wrote; empty if there was none or its Python is gone."""
    if not STAMP.exists() or not PYTHON.exists():
        return {}
    return dict(line.split() for line in STAMP.read_text().splitlines())


def install(*, lock: bool) -> None:
    """Bring .venv up to date; ``lock`` is False when only the project's own metadata changed."""
    progress = Progress()
    # Also when the Python it links to was removed since, or its making was cut short before pip.
    if not (PYTHON.exists() and PIP.exists()):
        version = ".".join(map(str, sys.version_info[:3]))
        progress.show(f"making .venv with Python {version}; about 6 GB follow", stays=True)
        venv.create(VENV, clear=True, with_pip=True)
    # The stamp goes first: what is interrupted from here on is done again.
    STAMP.unlink(missing_ok=True)
    LOG.unlink(missing_ok=True)
    if lock:
        # Wheels only: a platform without one gets pip's clear refusal, not a compiler's pages.
        locked = ("--no-deps", "--require-hashes", "--only-binary=:all:", "-r", str(LOCK))
        pip(locked, progress)
    pip(("--no-deps", "--no-build-isolation", "-e", str(ROOT)), progress)
    progress.show("ready", stays=True)


def pip(arguments: tuple[str, ...], progress: Progress) -> None:
    """Run ``pip install``, log what it says, show how far it is.

    Raises:
        InstallError: with pip's own error lines, if it did not succeed.
    """
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    total = sum("==" in line for line in LOCK.read_text().splitlines())
    done, said = 0, []
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            said.append(line)
            if line.startswith("Ignoring "):  # a line of the lock for another platform or Python
                total -= 1
            elif line.startswith("Requirement already satisfied"):
                done += 1
            elif match := COLLECTING.match(line):
                done, name = done + 1, match[1]
                progress.show(f"{done}/{total} {name}")
            elif done and (match := DOWNLOADING.match(line)):
                progress.show(f"{done}/{total} {name} ({match[1]})")
            elif done and line.startswith("Installing collected"):
                progress.show("all fetched, unpacking takes about half a minute", stays=True)
    if process.returncode != 0:
        errors = [line for line in said if line.startswith("ERROR")] or said[-10:]
        raise InstallError(f"pip failed; all of it is in {LOG}\n{''.join(errors).rstrip()}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
