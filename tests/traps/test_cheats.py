"""Defences that only blind attacks do not rank, and honest ones beside them do: plan to table."""

import pytest

from tests.support.workspaces import Checkout
from tests.traps.cheat_run import FEW, GROUPS, HONEST, Scale, play, signs
from tests.traps.cheats import CHEATS

LOCAL = pytest.param("local", marks=pytest.mark.xdist_group("cheats"))
DOCKER = pytest.param("docker", marks=pytest.mark.engine)


@pytest.fixture(scope="module", params=[LOCAL, DOCKER])
def executor(request):
    return request.param


def played_in(executor):
    """The cheats that are played in an executor; the table plays all."""
    return [name for name, cheat in CHEATS.items() if executor in cheat.tested]


@pytest.fixture(scope="module")
def found(executor, tmp_path_factory):
    checkout = Checkout(tmp_path_factory.mktemp(f"cheats-{executor}"))
    groups = {CHEATS[name].group for name in played_in(executor)}
    groups |= {CHEATS[name].reference for name in played_in(executor)} | {"honest", "donors"}
    scale = Scale(100, attacks=FEW, groups=[group for group in GROUPS if group in groups])
    return play(checkout, scale, executor, played_in(executor))


@pytest.mark.parametrize("name", played_in("local"))
def test_a_cheat_ends_as_its_row_says(found, executor, name):
    cheat = CHEATS[name]
    if name not in played_in(executor):
        assert executor == "docker"  # it ends there as it does here
        return
    row = found.rows[cheat.group, name]
    assert found.end(name) in cheat.ends, (row.score, row.rank, signs(row))
    assert any(cheat.words in (cell.reason or "") for cell in row.cells)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_defence_is_ranked_without_a_sign(found, name):
    row = found.rows["honest", name]
    assert row.rank is not None
    assert signs(row) == []


@pytest.mark.parametrize("name", ["none", "jpeg"])
def test_a_rival_from_which_nothing_can_be_borrowed_costs_no_rank(found, name):
    row = found.rows["donors", name]
    assert row.rank is not None
    assert signs(row) == []
    assert {found.rows["donors", rival].rank for rival in ("exits", "declines-gradients")} == {None}
