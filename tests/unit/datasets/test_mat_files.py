"""MATLAB files: what scipy reads is read, and no damage ends in more than one line."""

import io
import random

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from harness.common.errors import UserError
from harness.datasets.files import mat_files
from harness.datasets.files.mat_files import read_mat, texts_of
from tests.support.errors import raises_error
from tests.support.sources import shared

VARIABLES = {
    "numbers": np.arange(6.0).reshape(2, 3) / 2,
    "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "wide": np.array([[-(2**40), 2**40]]),
    "word": "naïve",
    "rows": np.array(["ab", "cde"]),
    "cells": np.array([["x/ä.png"], ["y.png"], [""]], dtype=object),
    "mixed": np.array([["one", np.array([[2]])]], dtype=object),
    "other": {"field": 1},
}


def mat(packed=False, **variables):
    out = io.BytesIO()
    savemat(out, variables or VARIABLES, do_compression=packed)
    return out.getvalue()


@pytest.mark.parametrize("packed", [False, True])
def test_what_scipy_wrote_is_read(packed):
    blob = mat(packed)
    found, known = read_mat(blob, "x.mat", list(VARIABLES)[:-1]), loadmat(io.BytesIO(blob))
    for name in ("numbers", "bytes", "wide"):
        np.testing.assert_array_equal(found[name], known[name])
    texts = {name: texts_of(found[name], name) for name in list(VARIABLES)[2:-1]}
    assert texts["word"] == ["naïve"]
    assert texts["rows"] == ["ab", "cde"]
    assert texts["cells"] == ["x/ä.png", "y.png", ""]
    assert texts["mixed"] == ["one", "2"]


def test_real_variables_are_those_of_scipy():
    blob = (shared("ranking") / "pubfig_data.mat").read_bytes()
    known = {k: v for k, v in loadmat(io.BytesIO(blob)).items() if not k.startswith("__")}
    found = read_mat(blob, "x.mat", list(known))
    assert len(known) == 10
    for name, value in known.items():
        if value.dtype == object:
            assert texts_of(found[name], name) == [str(cell[0]) for cell in value.ravel("F")]
        else:
            np.testing.assert_array_equal(found[name], value)


def test_a_structure_is_refused():
    with raises_error("matlab-structure", where="x.mat"):
        read_mat(mat(), "x.mat", ["other"])


def test_a_nested_cell_is_refused():
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = np.array([["a"]], dtype=object)
    with raises_error("matlab-nested-cell", where="x.mat"):
        read_mat(mat(cells=cells), "x.mat", ["cells"])


@pytest.mark.parametrize("packed", [False, True])
def test_no_damage_ends_in_more_than_one_line(packed):
    draw, blob, refused = random.Random(1), mat(packed), []
    for _ in range(8):
        mutant = bytearray(blob)
        for _ in range(draw.randint(1, 4)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        if draw.random() < 0.3:
            del mutant[draw.randrange(len(mutant)) :]
        try:
            read_mat(bytes(mutant), "x.mat", list(VARIABLES)[:-1])
        except UserError as error:
            refused.append(str(error))
    assert refused
    assert "\n" not in "".join(refused)


PROGRAMS = {
    "matlab-crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "matlab-slow": "import time; time.sleep(60)",
    "matlab-memory": "raise MemoryError",
}


@pytest.mark.parametrize("code", PROGRAMS)
def test_a_reader_that_crashes_ends_in_one_line(code, tmp_path, monkeypatch):
    """scipy's, in C, ends its process on a few of a thousand damaged files."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[code])
    monkeypatch.setattr(mat_files, "_PROGRAM", program)
    monkeypatch.setattr(mat_files, "_SECONDS", 2)
    with raises_error(code, where="x.mat"):
        read_mat(mat(), "x.mat", ["word"])
