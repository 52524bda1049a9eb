"""Defences that only blind attacks do not rank, and honest ones beside them do: plan to table."""

import pytest

from tests.support.workspaces import Checkout
from tests.traps.cheat_run import FEW, HONEST, Scale, play, signs
from tests.traps.cheats import CHEATS, WITHOUT

LOCAL = pytest.param("local", marks=pytest.mark.xdist_group("cheats"))
DOCKER = pytest.param("docker", marks=pytest.mark.engine)


@pytest.fixture(scope="module", params=[LOCAL, DOCKER])
def found(request, tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp(f"cheats-{request.param}"))
    return play(checkout, Scale(100, attacks=FEW), request.param)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_rank_above_the_network_without_its_trick(found, name):
    cheat = CHEATS[name]
    row = found.rows[cheat.group, name]
    assert found.end(name) in cheat.ends, (row.score, row.rank, signs(row))
    assert any(cheat.words in (cell.reason or "") for cell in row.cells)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_defence_is_ranked_without_a_sign(found, name):
    row = found.rows["honest", name]
    assert row.rank is not None
    assert signs(row) == []


@pytest.mark.parametrize("name", WITHOUT)
def test_a_defence_without_its_trick_is_ranked_without_a_sign(found, name):
    row = found.rows[WITHOUT[name][0], name]
    assert row.rank is not None
    assert signs(row) == []
