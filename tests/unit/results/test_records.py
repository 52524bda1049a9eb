"""Records: the schema, the digest that says what is equal, and the tree of files."""

import copy
import hashlib
import json

import pytest
from pydantic import ValidationError

from harness.results import record_tree, records
from harness.results.outcome import OUTCOME
from harness.results.records import Record
from tests.support.errors import raises_error

GOLDEN = "492e31ef1d92c34180ff689251138b7560b50a7e1dd700cacae500a153ca893c"
"""Changes only with the record's schema or its digest: then old records are no longer readable."""

GOLDEN_FILE = (
    "29797606745ab59e92e85280ed70d687",
    "ea55f9e6aa0296a0b3a5849eadf40527187003a7a2496508936a4c30b6b3b604",
)
"""Name and SHA-256 of a file from before ``outcome``: published records keep both."""

GOLDEN_FULL = (
    "c8349246aec7053bdf4ffa781fd6d2ff",
    "e2eb83991c26da6718e9de8fa8aa194aa20890efe8a2db980cc5bde3328739de",
)

RECORD = {
    "key": "k" * 64,
    "id": "quick/digits-linf/small-cnn/none/pgd/linf-8_255/s0",
    "cell": {
        "benchmark": "quick",
        "matrix": "digits-linf",
        "task": "classification",
        "threat_model": "evasion",
        "victim": "small-cnn",
        "defense": "none",
        "attack": "pgd",
        "defense_module": "none",
        "attack_module": "pgd",
        "budget": {"norm": "linf", "eps": 8 / 255},
        "budget_label": "L∞ 8/255",
        "goal": "untargeted",
        "knowledge": "none",
        "data": {"student": "digits"},
        "seed": 0,
    },
    "status": "ok",
    "stage": None,
    "reason": None,
    "metrics": {
        "accuracy": {"value": 0.5, "k": 1, "n": 2, "lo": 0.1, "hi": 0.9, "level": 0.95,
                     "method": "wilson"},
        "attack_success_rate": {"absent": "no input was right before the attack"},
    },
    "parts": {},
    "outcomes": {"ids": "d" * 64, "n": 2, "before": "wA==", "after": "gA=="},
    "confusions": None,
    "perturbation": {"linf_max": 0.03, "examples": 2},
    "queries": None,
    "cost": {"attack": {"forward": 20, "backward": 10}},
    "flags": [{"name": "noop_differs", "text": "a sentence"}],
    "notes": [],
    "stages": {"after": "a" * 64},
    "members": [],
    "modules": {"attacks/pgd": "p" * 64},
    "params": {"attack": {"steps": 7}},
    "method": 1,
    "environment": {"executor": "local", "device": "cpu", "python": "3.11.7", "torch": "2.15.0",
                    "lock": "l" * 64, "threads": 1},
    "run": {"id": "abc", "commit": None, "dirty": None, "finished": "2026-01-01T00:00:00+00:00",
            "seconds": {"after": 0.1}, "hook_seconds": {"after": 0.01}, "peak_memory": {"after": 5},
            "machine": "Linux x86_64"},
}  # fmt: skip


FULL = {
    "by": "attack",
    "flips": {"n": 2, "edges": [-1, 0.5, 1.0], "attributes": []},
    "metrics": RECORD["metrics"] | {"x": {"value": 1, "lo": 0}},
    "run": RECORD["run"] | {"seconds": {"after": 0}, "images": {}},
}
"""Numbers that are whole stay as they are written: 1 and 1.0 have different digests."""


def made(**changes):
    return records.finish(copy.deepcopy(RECORD) | changes)


def run_of(**changes):
    return {"run": RECORD["run"] | changes}


def test_golden_record():
    assert made().result == GOLDEN


def before_outcomes(record):
    """The record as it was made before the field ``outcome``."""
    fields = {name: value for name, value in record.to_json().items() if name != "outcome"}
    return Record.model_validate(fields)


def test_golden_file(tmp_path):
    path = records.write(tmp_path, before_outcomes(made()))
    assert (path.stem, hashlib.sha256(path.read_bytes()).hexdigest()) == GOLDEN_FILE


def test_golden_file_of_a_record_with_every_field_and_whole_numbers(tmp_path):
    path = records.write(tmp_path, before_outcomes(made(**FULL)))
    assert (path.stem, hashlib.sha256(path.read_bytes()).hexdigest()) == GOLDEN_FULL
    assert records.read(path).to_json() == json.loads(path.read_text())


def test_a_record_from_before_a_field_keeps_its_digest(tmp_path):
    """Of ``by``, ``flips``, ``health``, ``images`` and ``outcome``; it is read as it is."""
    path = records.write(tmp_path, before_outcomes(made()))
    record = records.read(path)
    assert (record.by, record.flips, record.health, record.run.images) == (None, None, None, {})
    assert not {"by", "flips", "health", "outcome"} & record.to_json().keys()
    assert records.write(tmp_path / "copy", record).read_bytes() == path.read_bytes()


def test_the_health_of_gradients_is_part_of_the_result(tmp_path):
    record = made(health={"unlimited_success": 1.0, "backward_passes": 20})
    assert record.result != made().result
    assert records.read(records.write(tmp_path, record)) == record
    with pytest.raises(ValidationError):
        made(health={"unlimited_success": "all"})


def test_a_record_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        made().status = "ok"


def test_the_result_leaves_out_the_run_and_nothing_else():
    plain = made()
    other = made(**run_of(id="other", seconds={"after": 9.0}, machine="m"))
    assert other.result == plain.result
    changes = [
        {"key": "other"},
        {"metrics": {}},
        {"stages": {}},
        {"cost": {}},
        {"status": "timeout", "reason": "slow", "stage": "attack"},
        {"environment": RECORD["environment"] | {"torch": "2.16.0"}},
    ]
    results = {made(**change).result for change in changes}
    assert len(results | {plain.result}) == len(changes) + 1


GOLDEN_OUTCOME = "89d43ef9f2f98af5d04545c4a40adadc944c092bf3a94cbc70b92fbd672fb98b"
"""Changes only with what is an outcome: then records of old and new versions are never equal."""


def test_the_outcome_is_of_what_was_judged_and_of_nothing_else():
    plain = made()
    assert plain.outcome == GOLDEN_OUTCOME
    for change in (
        {"key": "other"},
        {"environment": RECORD["environment"] | {"executor": "docker", "python": "3.12"}},
        run_of(machine="m", commit="c", finished="2027-01-01T00:00:00+00:00"),
        {"stages": {}},
        {"cost": {}},
        {"perturbation": {"linf_max": 0.03000001, "examples": 2}},
    ):
        assert made(**change).outcome == plain.outcome, change
    changes = [
        {"metrics": {}},
        {"outcomes": RECORD["outcomes"] | {"after": "QA=="}},
        {"outcomes": RECORD["outcomes"] | {"ids": "e" * 64}},
        {"confusions": {"shape": [1, 2, 3], "before": "eJw=", "after": "eJw="}},
        {"flips": FULL["flips"]},
        {"queries": {"max": 3, "median": 2.0}},
        {"status": "timeout", "reason": "slow", "stage": "attack"},
    ]
    outcomes = {made(**change).outcome for change in changes}
    assert len(outcomes | {plain.outcome}) == len(changes) + 1
    assert set(OUTCOME) <= Record.model_fields.keys()


def test_the_outcome_of_a_record_from_before_the_field_is_computed(tmp_path):
    for change in ({}, FULL):
        new = made(**change)
        old = records.read(records.write(tmp_path, before_outcomes(new)))
        assert old.outcome is None
        assert records.outcome_of(old) == new.outcome == records.outcome_of(new)
        assert old.result == new.result


def test_an_outcome_that_is_not_the_record_s_is_refused(tmp_path):
    forged = made().model_copy(update={"outcome": "0" * 64})
    path = records.write(tmp_path, forged)
    with raises_error("record-outcome-forged", where=path):
        records.read(path)


def test_the_brief_form_has_the_digests_and_no_packed_arrays():
    for record in (made(**FULL), before_outcomes(made(**FULL))):
        brief = records.to_brief(record)
        assert not {"outcomes", "confusions", "flips"} & brief.keys()
        again = records.from_brief(json.loads(json.dumps(brief)), "x.json")
        assert records.outcome_of(again) == records.outcome_of(record)
        assert (again.result, again.metrics) == (record.result, record.metrics)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (None, "brief-of-nothing"),
        ({"outcome": 5}, "brief-without-outcome"),
        ({"outcome": "x", "key": "k"}, "brief-incomplete"),
    ],
)
def test_a_brief_form_that_is_none_is_one_line(fields, code):
    with raises_error(code, where="x.json"):
        records.from_brief(fields, "x.json")


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"extra": 1},
        {"cost": {"attack": {"forward": 1.5}}},
        {"metrics": {"accuracy": {"value": "0.5"}}},
        {"cell": RECORD["cell"] | {"task": "translation"}},
        {"environment": {}},
    ],
)
def test_a_record_that_is_not_of_the_schema_is_a_bug_of_ours(change):
    with pytest.raises(ValidationError):
        made(**change)


def test_records_with_and_without_class_names_and_moves_are_read(tmp_path):
    maps = {"shape": [1, 2, 3], "before": "eJw=", "after": "eJw="}
    more = maps | {"classes": ["sky", "road"], "moves": "eJw="}
    for confusions in (maps, more, more | {"classes": []}):
        path = records.write(tmp_path, made(confusions=confusions))
        assert records.read(path).confusions == confusions
    with pytest.raises(ValidationError):
        made(confusions=more | {"classes": ["sky", 3]})


def test_nan_is_refused_in_a_record():
    with pytest.raises(ValueError, match="JSON"):
        made(perturbation={"linf_max": float("nan")})


def test_what_is_written_is_read_back(tmp_path):
    record = made()
    path = records.write(tmp_path, record)
    assert path.parent.name == "quick"
    assert records.read(path) == record
    assert json.loads(path.read_text()) == record.to_json()


def test_a_record_is_written_once(tmp_path):
    path = records.write(tmp_path, made())
    before = path.stat().st_mtime_ns
    assert records.write(tmp_path, made()) == path
    assert path.stat().st_mtime_ns == before
    assert records.write(tmp_path, made(**run_of(id="second"))) != path
    assert len(list(record_tree.walk(tmp_path))) == 2


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda text: text[:-10], "record-cut"),
        (lambda text: "", "record-empty"),
        (lambda text: "[]", "record-of-a-list"),
        (lambda text: text.replace('"value": 0.5', '"value": 0.6'), "record-value-changed"),
        (lambda text: text.replace('"id": "abc"', '"id": "abd"'), "record-id-changed"),
        (lambda text: text.replace('"status": "ok"', '"status": "fine"'), "record-status-unknown"),
        (lambda text: text.replace('"seed": 0', '"seed": "0"'), "record-seed-of-text"),
        (lambda text: text.replace("record/1", "record/2"), "record-newer"),
        (lambda text: text.replace('"linf_max": 0.03', '"linf_max": NaN'), "record-nan"),
        (lambda text: "[" * 100_000, "record-nested-deeply"),
    ],
)
def test_a_damaged_record_is_one_line_and_the_others_are_read(tmp_path, damage, code):
    path = records.write(tmp_path, made())
    other = records.write(tmp_path, made(key="other"))
    path.write_text(damage(path.read_text()))
    with raises_error(code, where=path):
        records.read(path)
    good, errors = record_tree.load_all(tmp_path)
    assert [r.key for r in good] == ["other"]
    assert len(errors) == 1
    assert other.exists()


def test_a_renamed_record_does_not_match_its_digest(tmp_path):
    path = records.write(tmp_path, made())
    renamed = path.rename(path.with_stem("0" * 32))
    with raises_error("record-renamed", where=renamed):
        records.read(renamed)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    path = records.write(tmp_path, made())
    path.write_bytes(b"\xff\xfe\x00")
    with raises_error("record-not-utf-8", where=path):
        records.read(path)


def test_half_written_records_are_not_seen(tmp_path):
    path = records.write(tmp_path, made())
    path.with_suffix(".part").write_text("{")
    assert list(record_tree.walk(tmp_path)) == [path]


def test_a_folder_that_is_not_there_holds_no_records(tmp_path):
    assert record_tree.load_all(tmp_path / "nowhere") == ([], [])


def test_several_folders_are_read_together(tmp_path):
    records.write(tmp_path / "a", made())
    records.write(tmp_path / "b", made(key="other"))
    good, _ = record_tree.load_all(tmp_path / "a", tmp_path / "b")
    assert {r.key for r in good} == {"k" * 64, "other"}


def test_of_several_records_of_a_key_a_result_beats_a_failure_and_then_the_latest_counts():
    def one(status, hour):
        run = run_of(finished=f"2026-01-01T{hour:02}:00:00+00:00")
        return made(status=status, reason=None if status == "ok" else "why", **run)

    old, new, failed = one("ok", 1), one("ok", 2), one("timeout", 3)
    for order in ([old, new, failed], [failed, new, old], [new, failed, old]):
        assert records.newest_by_key(order) == {"k" * 64: new}
    early, late = one("timeout", 1), one("timeout", 2)
    assert records.newest_by_key([late, early]) == {"k" * 64: late}
