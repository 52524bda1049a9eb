"""Flags that compare attacks: each at both sides of its threshold."""

from harness.judge.attack_flags import (
    another_loss_does_better,
    not_converged,
    query_beats_whitebox,
    success_falls_with_budget,
)


def test_success_falls_with_budget() -> None:
    assert success_falls_with_budget([]) is None
    assert success_falls_with_budget([(8, 0.52), (4, 0.5), (16, 0.50)]) is None
    flag = success_falls_with_budget([(16, 0.47), (4, 0.3), (8, 0.5)])
    assert flag is not None
    assert flag.text.startswith("success falls from 50.0% at eps 8 to 47.0% at eps 16")


def test_query_beats_whitebox() -> None:
    assert query_beats_whitebox(query=0.52, whitebox=0.5) is None
    assert query_beats_whitebox(query=0.53, whitebox=0.5) is not None


def test_not_converged() -> None:
    assert not_converged(steps=0.5, twice=0.52) is None
    assert not_converged(steps=0.5, twice=0.53) is not None


def test_another_loss_does_better() -> None:
    for success, other in ((0.5, 0.52), (0.5, 0.6), (0.1, 0.1)):
        assert another_loss_does_better(success=success, other=other, name="x") is None
    for success, other in ((0.0769, 0.1059), (0.0, 0.03)):
        assert another_loss_does_better(success=success, other=other, name="x") is not None
