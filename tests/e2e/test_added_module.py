"""A folder alone gets a number: no file of a benchmark is changed before the number is known."""

import io

from rich.console import Console

from harness.commands.enter import enter
from harness.commands.report import report
from tests.support.workspaces import Checkout, matrix


def test_a_new_attack_gets_a_number_and_keeps_it_when_it_is_entered(tmp_path):
    checkout = Checkout(tmp_path)
    checkout.benchmark(matrix(attacks=["noop"]))
    added = ["attack=sign"]
    only = {"attack": {"sign"}}
    done = checkout.run(added=added, only=only).tally
    assert (done.failed, done.records) == (0, 1)

    def shown(*added):
        out = io.StringIO()
        report(
            checkout.workspace(),
            open_=False,
            console=Console(file=out, width=200),
            attack="sign",
            added=added,
        )
        return out.getvalue()

    assert "strongest attack" in shown(*added)
    enter(checkout.workspace(), "attack/sign", ["b"], Console(file=io.StringIO()))
    assert "strongest attack" in shown()
    again = checkout.run(only=only).tally
    assert (again.stages, again.records) == (0, 0)
