"""Amounts of data that mean nothing: each is refused in one line, the edges are not."""

import pytest

from harness.planning.budget_rules import RULES
from tests.support.matrix_errors import (
    DISHES,
    FIVES,
    amounts,
    assert_one_line,
    matrix_errors,
    shots,
)
from tests.unit.planning import test_budget_rules


def part(text, name="digits", **more):
    return {"data": {"student": {"name": name, "part": text, **more}}}


# matrix, the key, what is said
WRONG = [
    (
        {"eval_subset": {"examples": 501, "batch": 10}},
        "eval_subset.examples",
        "501 examples, but the test split of digits has 500; write at most 500",
    ),
    ({"eval_subset": {"examples": 0, "batch": 10}}, "eval_subset.examples", "expected at least 1"),
    ({"eval_subset": {"examples": 10, "batch": 0}}, "eval_subset.batch", "expected at least 1"),
    (
        {"eval_subset": {"examples": 6066, "batch": 10}} | DISHES,
        "eval_subset.examples",
        "has 6,065",
    ),
    ({"clean": 298}, "clean", "298 examples, but the validation split of digits has 297"),
    ({"clean": 0}, "clean", "expected at least 1"),
    (
        {"data": {"student": {"name": "digits", "train_fraction": 0.009}}},
        "data.student.train_fraction",
        "0.009 of 1,000 examples is 9, fewer than the 10 classes; write at least 10/1000",
    ),
    (
        {"data": {"student": {"name": "digits", "train_fraction": 0}}},
        "data.student.train_fraction",
        "expected more than 0",
    ),
    (
        {"data": {"student": {"name": "digits", "train_fraction": 1.5}}},
        "data.student.train_fraction",
        "expected at most 1",
    ),
    (
        {"data": {"student": {"name": "digits-ranking", "train_fraction": 0.0002}}},
        "data.student.train_fraction",
        "of 2,000 examples is 0; write at least 1/2000",
    ),
    *(
        (amounts("train_fraction", values), f"data.student.train_fraction{place}", said)
        for values, place, said in [
            ([], "", "expected at least one entry, found []; add one"),
            ([0.5, 0], "[1]", "expected more than 0, found 0"),
            ([1.5, 0.5], "[0]", "expected at most 1, found 1.5"),
            ([0.5, 0.5], "", "duplicate entry 0.5; keep one"),
            ([0.5, "half"], "[1]", 'expected a number, found "half"'),
            ([0.5, 0.5001], "[1]", "500 of 1,000 examples, as another entry; keep one"),
            ([0.5, 0.009], "[1]", "0.009 of 1,000 examples is 9, fewer than the 10 classes"),
        ]
    ),
    *(
        (amounts("train_examples", values), f"data.student.train_examples{place}", said)
        for values, place, said in [
            ([], "", "expected at least one entry, found []; add one"),
            (0, "", "expected at least 1, found 0"),
            ([20, 2.5], "[1]", "expected a whole number, found 2.5; round it"),
            ([20, 20], "", "duplicate entry 20; keep one"),
            (1001, "", "1,001 examples, but digits has 1,000 training examples; write at most"),
            ([20, 1001], "[1]", "1,001 examples, but digits has 1,000 training examples"),
            ([9, 20], "[0]", "9 examples are fewer than the 10 classes; write at least 10"),
        ]
    ),
    (
        amounts("train_examples", [500], train_fraction=0.5),
        "data.student.train_examples",
        "train_examples beside train_fraction: both choose training examples; keep one of them",
    ),
    (
        amounts("train_examples", 500, part="1/2"),
        "data.student.train_examples",
        "train_examples beside part: how many a part holds is known once it is cut",
    ),
    (
        {"data": {"public": {"name": "digits-0-4", "train_fraction": [0.5, 1]}} | FIVES},
        "data.public.train_fraction",
        "a list of amounts of public data: the student's alone may have one; write one amount",
    ),
    (shots(101), "data.student.shots", "but digits has 1,000 training examples; write at most 100"),
    (shots(0), "data.student.shots", "expected at least 1"),
    (shots(1, "digits-ranking"), "data.student.shots", "in ranking no example has one class"),
    (part("1/1"), "data.student.part", 'of at least 2, found "1/1"'),
    (part("3/2"), "data.student.part", 'of at least 2, found "3/2"'),
    (part(0.5), "data.student.part", "expected a part of at least 2, found 0.5"),
    (part("1/2", "digit-scenes"), "data.student.part", "in segmentation no example has one class"),
    (shots(5, train_fraction=0.5), "data.student.shots", "shots beside train_fraction"),
    ({"seeds": [0, 0]}, "seeds", "duplicate entry 0"),
    ({"seeds": [-1]}, "seeds[0]", "expected at least 0"),
]


@pytest.mark.parametrize(("changes", "key", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_an_amount_that_means_nothing_is_one_line_with_its_place(tmp_path, changes, key, words):
    assert_one_line(tmp_path, changes, key, words)


RIGHT = [
    {"eval_subset": {"examples": 500, "batch": 1000}},
    {"eval_subset": {"examples": 1, "batch": 1}},
    {"clean": 297},
    {"data": {"student": {"name": "digits", "train_fraction": 0.01}}},
    {"data": {"student": {"name": "digits-ranking", "train_fraction": 0.0005}}},
    {"data": {"student": {"name": "digits", "train_fraction": 1}}},
    shots(1),
    shots(100),
    shots(5, train_fraction=1),
    part("2/2", shots=5),
    amounts("train_fraction", [0.01, 1]),
    amounts("train_fraction", [0.5]),
    amounts("train_fraction", [0.1, 1], part="1/2"),
    amounts("train_examples", [10, 1000]),
    amounts("train_examples", [1, 2000], "digits-ranking"),
    amounts("train_examples", 10, train_fraction=1),
    {"seeds": [0, 999_999_999_999_999_999]},
]


@pytest.mark.parametrize("changes", RIGHT, ids=lambda value: str(value)[:60])
def test_the_edges_are_right(tmp_path, changes):
    assert matrix_errors(tmp_path, **changes) == []


def test_every_rule_has_a_bad_value():
    tried = {key.rpartition(".")[2] for _, key, _ in (*WRONG, *test_budget_rules.WRONG)}
    assert RULES.keys() <= tried
