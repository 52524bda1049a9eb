# Every target makes the environment first, if it has to. Nothing needs root, and no network but the package index.

PYTHON      ?= python3 python3.14 python3.13 python3.12 python3.11# the first that will do makes .venv
PYTEST_ARGS ?= -q -n 2 --dist loadgroup --benchmark-disable
LOCK_ARGS   ?=# e.g. --upgrade

BIN   = .venv/bin
STAMP = .venv/.installed

.PHONY: help demo test quick lint speed docs lock clean env

help:
	@echo 'make demo    run the quick benchmark and build the report'
	@echo 'make test    run all tests                       PYTEST_ARGS="-q tests/unit"'
	@echo 'make quick   the unit tests that are not slow, in half a minute'
	@echo 'make lint    ruff and mypy'
	@echo 'make speed   the speed tests, timed'
	@echo 'make docs    write docs/reference from the code'
	@echo 'make env     only make .venv                     PYTHON=/path/to/python3'
	@echo 'make lock    update requirements/lock.txt        LOCK_ARGS=--upgrade'
	@echo 'make clean   remove .venv, caches and the generated site; runs and records stay'

demo: $(STAMP)
	$(BIN)/gauntlet run benchmarks/quick --executor local
	$(BIN)/gauntlet report

# One thread each: the tests run side by side, and threads on top of that only get in each other's way.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_ARGS)

quick: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_ARGS) -m 'not slow' tests/unit

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

speed: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/speed --benchmark-only

docs: $(STAMP)
	$(BIN)/python ci/docs.py

env: $(STAMP)

# The lock has wheels for these Pythons; `venv` and `ensurepip` are what Debian leaves out.
FIND_PYTHON = for python in $(PYTHON); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; \
	    then break; fi; python=; done; \
	if [ -z "$$python" ]; then echo 'make: Python 3.11 to 3.14 with venv is needed, and none of these is: $(PYTHON).' \
	    'Install one (Debian: python3-venv too) or name it: make PYTHON=/path/to/python3' >&2; exit 1; fi

PIP = $(BIN)/pip install --disable-pip-version-check --no-input --no-deps

# `--clear` also where making .venv was cut short. Wheels only: a platform without one gets pip's clear refusal.
$(STAMP): requirements/lock.txt pyproject.toml
	@if ! $(BIN)/pip --version >/dev/null 2>&1; then \
	    $(FIND_PYTHON); echo "making .venv with $$python; about 6 GB follow"; "$$python" -m venv --clear .venv; fi
	$(PIP) --require-hashes --only-binary=:all: -r requirements/lock.txt
	$(PIP) --no-build-isolation -e .
	@touch $(STAMP)

lock:
	@$(FIND_PYTHON); sh ci/lock.sh "$$python" $(LOCK_ARGS)

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .benchmarks reports/site build gauntlet.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
