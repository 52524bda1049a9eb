"""Every trap ends in its own status, the next cell runs, and the host is as it was before."""

import os
import re
import socket
from contextlib import closing

import pytest

from harness.common.keys import tree_digest
from tests.support.containers import ours
from tests.support.module_sources import PATCH, PERTURB, TRAINER
from tests.support.workspaces import BACKDOOR, POISONING, QUERY, Checkout, matrix
from tests.traps.modules import (
    BROKEN_GUARD,
    BROKEN_VICTIM,
    EDITS,
    NOTES,
    ORACLE_TRAPS,
    PEEKS,
    POISONS,
    SEEKER,
    TOO_MANY,
    TWO_FACED,
    spying,
)
from tests.traps.spies import SPIES, SPY
from tests.traps.table import TRAPS

SECRET = "trap-secret-7f3a"

LOCAL = pytest.param("local", marks=pytest.mark.xdist_group("traps"))
DOCKER = pytest.param("docker", marks=pytest.mark.engine)

WHOLE = {"examples": 40, "batch": 40}


@pytest.fixture(scope="module", params=[LOCAL, DOCKER])
def executor(request):
    return request.param


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """What hostile code would like to reach: a file, a port, a secret in the environment."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "canary").write_text("precious", encoding="utf-8")
    (folder / "canary").chmod(0o600)
    before = os.environ.get("GAUNTLET_TRAP")
    os.environ["GAUNTLET_TRAP"] = SECRET
    with closing(socket.create_server(("0.0.0.0", 0))) as server:
        yield folder, server.getsockname()[1]
    os.environ.pop("GAUNTLET_TRAP")
    assert before is None


def status(trap, executor):
    return trap.docker if executor == "docker" else trap.local


@pytest.fixture(scope="module")
def ran(tmp_path_factory, executor, host):
    """All matrices, run once: the checkout with its records, and what was said."""
    folder, port = host
    checkout = Checkout(tmp_path_factory.mktemp(f"traps-{executor}"))
    chosen = [name for name, trap in TRAPS.items() if status(trap, executor)]
    for name in chosen:
        code = TRAPS[name].code.replace("@PORT@", str(port)).replace("@SECRET@", SECRET)
        code = code.replace("@CANARY@", str(folder / "canary"))
        checkout.module("attack", name, code, **TRAPS[name].fields)
    checkout.module("victim", "broken", BROKEN_VICTIM, hooks=["build", "recipe"],
                    entry="victim.py:Victim")  # fmt: skip
    checkout.module("defense", "broken", BROKEN_GUARD, hooks=["guard"])
    checkout.module("defense", "untrained", TRAINER.replace("4)", "'many')"), hooks=["fit"])
    checkout.module("defense", "two-faced", TWO_FACED, hooks=["guard"])
    poisoning = {"threat_models": ["poisoning"], "hooks": ["poison"]}
    checkout.module("attack", "greedy-poison", TOO_MANY, **poisoning)
    for name, (edits, _) in POISONS.items():
        checkout.module("attack", name, EDITS.format(edits), **poisoning)
    for name, (body, _, _) in ORACLE_TRAPS.items():
        checkout.module("attack", name, PERTURB.format(body), threat_models=["evasion-query"])
    matrices = [
        matrix("attacks", attacks=chosen, eval_subset=WHOLE),
        matrix("victims", victims=["tiny", "broken"], defenses=["none", "broken", "untrained"]),
        matrix("faces", attacks=["sign"], defenses=["two-faced"]),
        matrix("queries", **QUERY | {"attacks": ["ask", *ORACLE_TRAPS], "eval_subset": WHOLE}),
        matrix("guards", **QUERY, defenses=["broken"]),
        matrix("edits", **POISONING | {"attacks": ["flip", "greedy-poison", *POISONS]}),
    ]
    if executor == "docker":
        matrices += contained_only(checkout)
    checkout.benchmark(*matrices)
    before = tree_digest(folder), modules_of(checkout)
    done = checkout.run(executor=executor)
    return checkout, done, before


def contained_only(checkout):
    """Modules that would find plenty where nothing is isolated, and their matrices."""
    for name, wanted in PEEKS.items():
        checkout.module("attack", name, spying(wanted), threat_models=["evasion-query"])
    checkout.module("attack", "peeking-trigger", SPY + PATCH.replace(
        "def trigger(self, x, budget, ctx):",
        "def trigger(self, x, budget, ctx):\n"
        "        for path in files('y.npy', 'goal.npy', 'network.safetensors'):\n"
        "            found(path)",
    ), hooks=["poison", "trigger"], threat_models=["backdoor"])  # fmt: skip
    checkout.module("defense", "seeker", SEEKER, hooks=["sanitize"])
    checkout.module("defense", "notes", NOTES, hooks=["guard"])
    return [
        matrix("peeks", **QUERY | {"attacks": list(PEEKS)}),
        matrix("triggers", **BACKDOOR | {"attacks": ["peeking-trigger"]}),
        matrix("seekers", **POISONING, defenses=["seeker"]),
        matrix("notes", attacks=["noop", "fine", "forks"], defenses=["notes"]),
    ]


def modules_of(checkout):
    return [tree_digest(checkout.root / name) for name in ("attacks", "defenses", "victims")]


@pytest.fixture
def record(ran):
    records = ran[0].records().values()

    def find(name, victim="tiny", defense="none", attack="noop"):
        (found,) = (
            r
            for r in records
            if (r.cell.matrix, r.cell.victim, r.cell.defense, r.cell.attack)
            == (name, victim, defense, attack)
        )
        return found

    return find


def check(found, status, words):
    """The record says how it ended, in one printable line, and has no number if it failed."""
    assert (found.status, found.reason or "") == (status, found.reason or "")
    if status == "ok":
        assert found.reason is None
        assert "by" not in found
        assert found.metrics["clean_accuracy"].value > 0.5
    else:
        assert (words or "") in found.reason
        assert found.by == "attack"
        assert len(found.reason) <= 600
        assert found.reason.isprintable()
        assert not found.metrics
        assert found.stage in ("attack", "learn", "score", "poison", "apply")


@pytest.mark.parametrize("name", TRAPS)
def test_each_trap_ends_in_its_own_status(record, executor, name):
    trap = TRAPS[name]
    wanted = status(trap, executor)
    if wanted is None:
        assert executor == "local"
        assert trap.why
        return
    check(record("attacks", attack=name), wanted, trap.words)


@pytest.mark.parametrize("name", POISONS)
def test_forbidden_edits_are_over_budget(record, name):
    check(record("edits", attack=name), "budget_violation", POISONS[name][1])


@pytest.mark.parametrize("name", ORACLE_TRAPS)
def test_an_oracle_cannot_be_abused(record, name):
    _, wanted, words = ORACLE_TRAPS[name]
    check(record("queries", attack=name), wanted, words)


def test_a_spy_that_may_see_everything_raises():
    """The spies do find what is there: here, everything is."""
    spies = {}
    exec(SPIES["reads-secrets"].code.replace("@SECRET@", "PATH="), spies)
    with pytest.raises(AssertionError, match="reached the environment"):
        spies["Attack"]().perturb(None, None, None, None, None, None)
    exec(spying("passwd").replace('"/etc", ', ""), spies)
    with pytest.raises(AssertionError, match="reached /etc/passwd"):
        spies["Attack"]().perturb(None, None, None, None, None, None)


def test_nothing_beyond_its_grants_is_near_a_stage(record, executor):
    if executor == "local":
        return
    for name in PEEKS:
        check(record("peeks", attack=name), "ok", None)
    check(record("triggers", attack="peeking-trigger"), "ok", None)
    check(record("seekers", attack="flip", defense="seeker"), "ok", None)


def test_no_note_reaches_the_next_stage(record, executor):
    """A defence sees several predictions, one after the other in one container."""
    if executor == "local":
        return
    for attack in ("noop", "fine", "forks"):
        check(record("notes", attack=attack, defense="notes"), "ok", None)


def test_a_defence_with_two_faces_is_flagged(record):
    found = record("faces", attack="sign", defense="two-faced")
    assert [flag.name for flag in found.flags if "different" in flag.name]


def test_the_fake_success_of_a_failing_attack_is_nowhere(record):
    assert record("attacks", attack="boasts").metrics == {}


def test_a_violation_that_the_judge_found_keeps_its_distances(record):
    found = record("attacks", attack="far")
    assert found.perturbation["linf_max"] > 0.1
    assert found.outcomes is None


def test_a_failing_victim_blocks_and_a_failing_defence_has_its_own_status(record):
    assert record("victims").status == "ok"
    for defense in ("none", "broken", "untrained"):
        found = record("victims", victim="broken", defense=defense)
        assert found.by == ("defense" if defense == "untrained" else "victim")
        own = defense == "untrained"  # it never calls the victim's own training
        assert found.status == ("module_error" if own else "blocked")
    blocked = record("victims", victim="broken")
    assert blocked.stage == "train"
    assert "train (victims/broken) module_error: ValueError: cannot be trained" in blocked.reason
    for defense, text in {"broken": "cannot guard", "untrained": "TypeError"}.items():
        found = record("victims", defense=defense)
        assert (found.status, found.by) == ("module_error", "defense")
        assert text in found.reason


def test_a_defence_that_fails_inside_the_oracle_is_told_from_the_attack(record):
    assert record("queries", attack="ask").status == "ok"
    found = record("guards", attack="ask", defense="broken")
    assert (found.status, found.by) == ("module_error", "defense")
    assert "cannot guard" in found.reason


def test_edits_over_budget_end_at_the_stage_that_would_apply_them(record):
    assert record("edits", attack="flip").status == "ok"
    found = record("edits", attack="greedy-poison")
    assert (found.status, found.stage) == ("budget_violation", "apply")
    assert found.by == "attack"
    assert "201 edits, the limit is 200" in found.reason


def test_records_say_where_they_were_made(record, executor):
    found = record("attacks", attack="fine")
    assert found.environment.executor == executor
    images = found.run.images
    digest = r"sha256:[0-9a-f]{64}"
    assert bool(images) == (executor == "docker")
    assert all(re.fullmatch(digest, image) for image in images.values())


def test_the_host_is_as_before(ran, host):
    checkout, _, before = ran
    folder, _ = host
    assert (tree_digest(folder), modules_of(checkout)) == before
    assert checkout.processes() == []
    assert [path for path in checkout.leftovers() if "checkpoints" not in path] == []


def test_no_container_is_left(ran, executor):
    if executor == "local":
        return
    assert ours() == []


def test_the_run_says_what_failed(ran):
    checkout, done, _ = ran
    assert f"{len(checkout.records())} cells" in done.said
    assert "contract_violation: b/attacks/tiny/none/nan" in done.said
    assert "more; see gauntlet show" in done.said


def test_failures_are_shown_and_not_repeated(ran, executor):
    checkout, done, _ = ran
    again = checkout.run(executor=executor)
    assert again.tally.stages == 0
    assert again.tally.records == 0
    assert again.said.splitlines()[1:] == done.said.splitlines()[1:]
