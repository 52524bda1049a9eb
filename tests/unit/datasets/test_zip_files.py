"""Zip archives: every method, ZIP64, and archives that are damaged or lie about themselves."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from harness.common.errors import UserError
from harness.datasets.files.source_files import find_files
from harness.datasets.mistakes import Mistakes
from tests.support.archives import HEADER, change_entry, write_zip
from tests.support.errors import raises_error

FILES = {"a/0.png": b"0" * 50, "a/1.png": bytes(range(90)), "b/0.png": b""}
UNIX = 3


def found(source, largest: int = 100) -> dict[str, bytes]:
    mistakes = Mistakes(str(source))
    wanted = lambda name: name.endswith(".png")  # noqa: E731
    files = {file.name: file.read() for file in find_files(source, wanted, largest, mistakes)}
    mistakes.check()
    return files


@pytest.fixture
def archive(tmp_path):
    return write_zip(tmp_path / "source" / "a.zip", FILES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_members_are_read_as_they_were_packed(method, tmp_path):
    assert found(write_zip(tmp_path / "a.zip", FILES, method)) == FILES


def test_folders_comments_and_a_program_in_front_do_no_harm(archive):
    with zipfile.ZipFile(archive, "a") as writer:
        writer.writestr("c/", "")
        writer.comment = b"PK\5 of 2026"
    archive.write_bytes(b"#!/bin/sh\n" + archive.read_bytes())
    assert found(archive) == FILES


def test_zip64_is_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as writer:
        for name, blob in FILES.items():
            with writer.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(blob)
    blob = path.read_bytes()
    end = blob.rindex(b"PK\5\6")
    count, size, offset = struct.unpack_from("<HLL", blob, end + 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    narrow = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(blob[:end] + wide + narrow)
    assert found(path) == FILES


def test_sizes_of_64_bits_are_in_the_extra_field(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as writer:
        info = zipfile.ZipInfo("a/0.png")
        info.extra = struct.pack("<HHB", 0x9999, 1, 0) + struct.pack("<HHQ", 1, 8, 50)
        writer.writestr(info, b"0" * 50)
    change_entry(path, 0, size=2**32 - 1)
    blob = path.read_bytes()
    assert blob.count(struct.pack("<HHQ", 1, 8, 50)) == 2
    assert found(path) == {"a/0.png": b"0" * 50}
    path.write_bytes(blob.replace(struct.pack("<HHQ", 1, 8, 50), struct.pack("<HHQ", 2, 8, 50)))
    with raises_error("zip-no-wide-size", where=path):
        found(path)


def test_backslashes_of_windows_are_slashes(archive):
    blob = archive.read_bytes().replace(b"a/0.png", b"a\\0.png").replace(b"b/0.png", b"..\\.png")
    archive.write_bytes(blob)
    assert "a\\0.png" in found(archive)  # on Unix, the name of a file
    for number in range(3):
        change_entry(archive, number, system=0)
    with raises_error("zip-outside", where="<tmp>/source/a.zip: ../.png"):
        found(archive)


@pytest.mark.parametrize(
    ("code", "number", "values"),
    [
        ("zip-link", 0, {"system": UNIX, "attributes": (stat.S_IFLNK | 0o777) << 16}),
        ("zip-device", 0, {"system": UNIX, "attributes": (stat.S_IFCHR | 0o600) << 16}),
        ("zip-encrypted", 0, {"flags": 1}),
        ("zip-deflate64", 0, {"method": 9}),
        ("zip-strange-method", 0, {"method": 77}),
        ("zip-crc", 0, {"crc": 1}),
        ("zip-longer", 0, {"size": 40}),
        ("zip-shorter", 0, {"size": 60}),
        ("zip-no-member", 0, {"offset": 1}),
        ("zip-other-name", 1, {"offset": 0}),
        ("zip-large-file", 0, {"size": 101}),
    ],
)
def test_a_member_that_is_no_whole_file_is_named_and_the_others_are_read(
    code, number, values, archive
):
    change_entry(archive, number, **values)
    name = list(FILES)[number]
    with raises_error(code, where=f"<tmp>/source/a.zip: {name}"):
        found(archive)
    mistakes = Mistakes("a")
    others = [file.name for file in find_files(archive, str, 100, mistakes)]
    assert others == [other for other in FILES if other != name]
    assert mistakes.count == 1


def test_a_bomb_unpacks_to_no_more_than_it_declares(tmp_path):
    """50 MB that declare 50 bytes: memory peaks below 1 MB."""
    path = write_zip(tmp_path / "source" / "a.zip", {"a/0.png": bytes(50 << 20)})
    change_entry(path, 0, size=50)
    tracemalloc.start()
    with raises_error("zip-bomb", where="<tmp>/source/a.zip: a/0.png"):
        found(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20, peak


def test_members_that_overlap_are_refused(archive):
    """One packed content under many names: the bomb of D. Fifield, 2019, in its simplest form."""
    blob = archive.read_bytes()
    end = blob.rindex(b"PK\5\6")
    count, size, offset = struct.unpack_from("<HLL", blob, end + 10)
    entries = blob[offset:end] * 40
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 40 * count, 40 * count, 40 * size, offset, 0)
    archive.write_bytes(blob[:offset] + entries + tail)
    mistakes = Mistakes("a")
    with raises_error("zip-overlap", where="<tmp>/source/a.zip"):
        for _ in find_files(archive, str, 100, mistakes):
            pass


def damages(blob: bytes) -> dict[str, bytes]:
    """Code → damaged archive."""
    end = blob.rindex(b"PK\5\6")
    return {
        "zip-empty": b"",
        "zip-text": b"no archive\n",
        "zip-cut": blob[: len(blob) // 2],
        "zip-cut-front": blob[200:],
        "zip-count": blob[: end + 10] + b"\x09\0" + blob[end + 12 :],
        "zip-part": blob[: end + 4] + b"\1\0" + blob[end + 6 :],
        "zip-directory": blob.replace(b"PK\1\2", b"PK\1\3"),
    }


@pytest.mark.parametrize("code", damages(b"PK\5\6"))
def test_a_damaged_archive_is_one_line(code, archive):
    archive.write_bytes(damages(archive.read_bytes())[code])
    with raises_error(code, where="<tmp>/source/a.zip"):
        found(archive.parent)


def test_a_mutated_archive_is_read_or_refused_in_one_line(archive):
    """Any other exception fails this test; what is read is what was packed."""
    whole = archive.read_bytes()
    chance = np.random.default_rng(0)
    read, refusals = 0, []
    for _ in range(1500):
        blob = bytearray(whole)
        for at in chance.integers(0, len(blob), 2):
            blob[at] = chance.integers(0, 256)
        archive.write_bytes(bytes(blob))
        try:
            assert set(found(archive).values()) <= set(FILES.values())
            read += 1
        except UserError as error:
            refusals.append(str(error))
    assert min(read, len(refusals)) > 100
    assert all(refusals)


def test_a_directory_of_very_many_entries_is_not_held_in_memory(tmp_path):
    """Of 20,000 entries, memory peaks at 0.1 MB; zipfile's list of them has 10 MB."""
    path = write_zip(tmp_path / "a.zip", {f"a/{number}.txt": b"" for number in range(20_000)})
    tracemalloc.start()
    assert found(path) == {}
    _, peak = tracemalloc.get_traced_memory()
    with zipfile.ZipFile(path) as whole:
        _, peak_of_zipfile = tracemalloc.get_traced_memory()
        assert len(whole.infolist()) == 20_000
    tracemalloc.stop()
    assert peak < 1 << 20 < 5 << 20 < peak_of_zipfile, (peak, peak_of_zipfile)


def test_the_made_archives_are_zip_files(archive):
    assert archive.read_bytes().startswith(HEADER)
    with zipfile.ZipFile(archive) as whole:
        assert whole.namelist() == list(FILES)
