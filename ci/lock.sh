#!/bin/sh
# Makes requirements/lock.txt from pyproject.toml: `make lock` keeps the pins that still fit,
# `make lock LOCK_ARGS=--upgrade` takes the newest, `LOCK_ARGS='--upgrade-package torch'` one of them.
# Use: ci/lock.sh PYTHON [argument of uv pip compile]...
set -eu
python=$1
shift
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

echo "lock: fetching uv into a throw-away environment"
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check uv

# uv reads the present pins from the file that it is about to write.
if [ -f requirements/lock.txt ]; then cp requirements/lock.txt "$scratch/pins.txt"; fi
"$scratch/venv/bin/uv" pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
    --override requirements/overrides.txt --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --quiet "$@" -o "$scratch/pins.txt"

{
    echo "# Made by 'make lock' from pyproject.toml and requirements/overrides.txt: change those, not this file."
    echo "# One lock for demo, tests and lint, so that what is tested is what runs; for every Python and platform at once."
    grep -v '^#' "$scratch/pins.txt"
} >"$scratch/lock.txt"
"$scratch/venv/bin/uv" pip compile requirements/runtime.in --universal --python-version 3.11 \
    --constraint "$scratch/lock.txt" --generate-hashes \
    --no-emit-index-url --no-annotate --no-header --quiet -o "$scratch/runtime-pins.txt"
{
    echo "# Made by 'make lock' from requirements/runtime.in with the pins of lock.txt: the images hold this."
    grep -v '^#' "$scratch/runtime-pins.txt"
} >"$scratch/runtime.txt"

if grep -n '://' "$scratch/lock.txt" "$scratch/runtime.txt"; then
    echo "lock: the lines above name a host; a lock file names packages and hashes only" >&2
    exit 1
fi
# A rename within the folder is atomic: a reader never sees half a lock file.
for name in lock runtime; do
    cp "$scratch/$name.txt" "requirements/$name.txt.new"
    mv "requirements/$name.txt.new" "requirements/$name.txt"
    echo "lock: $(grep -c '==' "requirements/$name.txt") pins in requirements/$name.txt"
done
