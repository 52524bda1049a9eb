"""A record that is named by a digest of its result or outcome, and what is said of others."""

import pytest

from harness.commands.show import DIGEST, find_digest
from tests.support.errors import raises_error
from tests.unit.results.test_records import RECORD, made, run_of

INSIDE = made(key="i" * 64, environment=RECORD["environment"] | {"executor": "docker"})
OTHER = made(id="quick/another/cell", cell=RECORD["cell"] | {"seed": 1})
APART = made(metrics={})
ALL = [made(), INSIDE, APART, OTHER]


def test_a_result_names_its_records_and_an_outcome_all_of_a_cell():
    again = made(**run_of(id="again"))
    assert find_digest([*ALL, again], made().result) == [made(), again]
    assert find_digest(ALL, INSIDE.result[:10]) == [INSIDE]
    assert find_digest(ALL[:3], made().outcome[:10]) == [made(), INSIDE]
    assert find_digest(ALL, APART.outcome) == [APART]


def test_equal_outcomes_of_several_cells_are_one_line():
    with raises_error("digest-of-cells", where=made().outcome):
        find_digest(ALL, made().outcome)


def test_an_unknown_digest_is_one_line():
    with raises_error("digest-unknown", where="0" * 64):
        find_digest(ALL, "0" * 64)


def test_a_beginning_of_several_digests_is_one_line():
    near = made().model_copy(update={"result": made().result[:8] + "0" * 56})
    beginning = made().result[:8]
    with raises_error("digest-ambiguous", where=beginning):
        find_digest([made(), near], beginning)


@pytest.mark.parametrize("text", ["12345", "xyzxyz", "quick/a", "A" * 8, "0" * 65])
def test_what_is_no_digest(text):
    assert not DIGEST.fullmatch(text)
