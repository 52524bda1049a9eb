"""Benchmarks: each mistake gives its own line."""

import pytest

from harness.common.errors import UserError
from harness.config.benchmark import check_benchmarks
from tests.support.benchmark_files import QUICK, lines_of, matrix_with, write

pytestmark = pytest.mark.usefixtures("root")

M = "matrices[0]"
# (line of the matrix, its value, the expected lines)
BAD = [
    (
        "threat_model",
        "evasoin",
        [
            f"10:3: {M}.threat_model: expected one of evasion, evasion-query, evasion-transfer, "
            'poisoning, backdoor, supply-chain, found "evasoin"; did you mean "evasion"?'
        ],
    ),
    (
        "data",
        "{studnet: digits}",
        [
            f"11:10: {M}.data.studnet: expected one of public, attacker, student, found "
            '"studnet"; did you mean "student"?'
        ],
    ),
    ("data", "{public: digits}", [f"11:3: {M}.data: no student's data; add student: NAME"]),
    (
        "data",
        "{student: {name: digits, train_fraction: 2}}",
        [
            f"11:34: {M}.data.student.train_fraction: expected at most 1, found 2; "
            "write a share, such as 0.05"
        ],
    ),
    (
        "data",
        "{student: digits/x}",
        [
            f"11:10: {M}.data.student.name: expected up to 41 of a-z, 0-9, _ and -, found "
            '"digits/x"; use a name that can be a folder and a part of an address'
        ],
    ),
    ("victims", "[]", [f"12:3: {M}.victims: expected at least one entry, found []; add one"]),
    (
        "victims",
        "small-cnn",
        [f'12:3: {M}.victims: expected a list, found "small-cnn"; write [sma'],
    ),
    ("victims", "[3]", [f"12:13: {M}.victims[0]: expected keys and values, found 3; change it"]),
    (
        "victims",
        "[{name: a, adversary: {attack: pgd, budget: {norm: l2, eps: 1}}}]",
        [f"12:23: {M}.victims[0].adversary: only a defence trains against an adversary; remove it"],
    ),
    (
        "attacks",
        "[pgd, {name: pgd, params: {steps: 3}}, {name: pgd-40, as: pgd-40}, pgd/pgd-100]",
        [f'14:3: {M}.attacks: duplicate entry "pgd"; remove one, or tell them apart by as:'],
    ),
    (
        "attacks",
        "[{name: pgd/pgd-40, variant: pgd-100}]",
        [
            f'14:13: {M}.attacks[0]: a variant in "pgd/pgd-40" and another in variant; '
            "keep one of them"
        ],
    ),
    (
        "attacks",
        "[{name: pgd, parms: {}}]",
        [f'14:25: {M}.attacks[0].parms: unknown key; did you mean "params"?'],
    ),
    (
        "defenses",
        "[{name: none, as: itself}]",
        [
            f'13:27: {M}.defenses[0].as: "itself" is the label of a defence\'s own inputs; '
            "choose another with as:"
        ],
    ),
    (
        "defenses",
        "[{name: at, adversary: pgd}]",
        [f"13:25: {M}.defenses[0].adversary.budget: missing; add budget"],
    ),
    (
        "defenses",
        "[{name: at, adversary: {attack: pgd, budget: {norm: l2, eps: 1, queries: 3}}}]",
        [
            f"13:77: {M}.defenses[0].adversary.budget.queries: evasion has no budget field "
            "queries; remove it; it has norm, eps, per_channel, patch, pixels, unbounded"
        ],
    ),
    (
        "budgets",
        "[{eps: 8/255}]",
        [f"15:14: {M}.budgets[0].eps: eps without a norm; add norm: linf or norm: l2"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 010}]",
        [
            f"15:29: {M}.budgets[0].eps: a number with a leading zero is ambiguous, found 010; "
            'quote it ("010") if it is text'
        ],
    ),
    (
        "budgets",
        "[{patch: 8/0}]",
        [
            f"15:21: {M}.budgets[0].patch: a fraction with nothing below the line, found 8/0; "
            'quote it ("8/0") if it is text'
        ],
    ),
    ("budgets", "[{norm: l2}]", [f"15:14: {M}.budgets[0].norm: a norm without eps; add eps"]),
    (
        "budgets",
        "[{norm: l2, eps: 1, unbounded: true}]",
        [f"15:32: {M}.budgets[0].unbounded: unbounded beside a bound; remove one of them"],
    ),
    (
        "budgets",
        "[{unbounded: false}]",
        [f"15:14: {M}.budgets[0].unbounded: expected one of true, found false; choose one of them"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 1, per_channel: [0.2]}]",
        [
            f"15:32: {M}.budgets[0].per_channel: per_channel without norm: linf; add norm: linf",
        ],
    ),
    (
        "budgets",
        "[{norm: linf, eps: 1, per_channel: []}]",
        [f"15:34: {M}.budgets[0].per_channel: expected at least one entry, found []; add one"],
    ),
    (
        "budgets",
        "[{norm: linf, eps: 1, per_channel: [0.2, 0]}]",
        [f"15:53: {M}.budgets[0].per_channel[1]: expected more than 0, found 0; change it"],
    ),
    (
        "budgets",
        "[{norm: linf, eps: 1, per_channel: [true]}]",
        [f"15:48: {M}.budgets[0].per_channel[0]: expected a number, found true"],
    ),
    (
        "budgets",
        "[{norm: linf, eps: 1, per_channel: 0.2}]",
        [f"15:34: {M}.budgets[0].per_channel: expected a list"],
    ),
    (
        "budgets",
        "[{norm: l1, eps: 1}]",
        [f'15:14: {M}.budgets[0].norm: expected one of linf, l2, found "l1"; did you mean "l2"?'],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 0}]",
        [f"15:24: {M}.budgets[0].eps: expected more than 0, found 0; change it"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: '8/255'}]",
        [f'15:24: {M}.budgets[0].eps: expected a number, found "8/255"; remove the quotes'],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 0/255}]",
        [f"15:24: {M}.budgets[0].eps: expected more than 0, found 0/255; change it"],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 1, edits: 0.1}]",
        [
            f"15:32: {M}.budgets[0].edits: evasion has no budget field edits; "
            "remove it; it has norm, eps, per_channel, patch, pixels, unbounded"
        ],
    ),
    (
        "budgets",
        "[{}]",
        [
            f"15:13: {M}.budgets[0]: evasion needs norm or patch or pixels or unbounded in its "
            "budget; add one of them"
        ],
    ),
    (
        "budgets",
        "[{norm: l2, eps: 1/2}, {norm: l2, eps: 0.5}]",
        [f"15:35: {M}.budgets[1]: duplicate entry L2 0.5; keep one"],
    ),
    (
        "goal",
        "targeted",
        [
            f'16:3: {M}.goal: expected a goal, found "targeted"; write untargeted or '
            "{targeted: random}, next, least_likely or a class number"
        ],
    ),
    ("goal", "{targeted: true}", None),
    ("goal", "{targeted: -1}", None),
    (
        "knowledge",
        "{surogate: x}",
        [
            f'17:3: {M}.knowledge: expected what the attacker knows, found {{"surogate": "x"}}; '
            "write none, clean-victim or {surrogate: NAME}"
        ],
    ),
    (
        "poisons",
        "public",
        [f"11:3: {M}.data: a public network without public data; add public: NAME"],
    ),
    ("eval_subset", None, [f"7:3: {M}.eval_subset: missing; add eval_subset"]),
    (
        "eval_subset",
        "{examples: 0, batch: 1.5}",
        [
            f"20:17: {M}.eval_subset.examples: expected at least 1, found 0; change it",
            f"20:30: {M}.eval_subset.batch: expected a whole number, found 1.5; round it",
        ],
    ),
    (
        "clean",
        "yes",
        [f'21:3: {M}.clean: expected a whole number, found "yes"; change it'],
    ),
    ("seeds", "[0, 1, 0]", [f"22:3: {M}.seeds: duplicate entry 0; keep one"]),
    ("seeds", "[-1]", [f"22:11: {M}.seeds[0]: expected at least 0, found -1; change it"]),
    (
        "keep",
        "{examples: 8, attention: no}",
        [
            f"23:23: {M}.keep.attention: expected true, false or a list of activation and "
            'grad-cam, found "no"; write true'
        ],
    ),
    (
        "keep",
        "{attention: [activation, saliency]}",
        [
            f"23:10: {M}.keep.attention: expected true, false or a list of activation and "
            'grad-cam, found ["activation", "saliency"]; write true'
        ],
    ),
    ("keep", "{attention: []}", [f"23:10: {M}.keep.attention: expected true, false or a list"]),
    (
        "strikes",
        "train",
        [f"24:3: {M}.strikes: this key is now called poisons; rename it"],
    ),
    (
        "random",
        "{samples: 1, draws: 100, seeds: 3}",
        [
            f"24:12: {M}.random.samples: expected at least 2, found 1; change it",
            f"24:24: {M}.random.draws: expected at most 64, found 100; change it",
            f"24:36: {M}.random.seeds: unknown key; ",
        ],
    ),
    ("random", "8", [f"24:3: {M}.random: expected keys and values, found 8; "]),
    ("shots", "5", [f"24:3: {M}.shots: unknown key here; write data: {{student: {{name: NAME"]),
    (
        "data",
        "digits",
        [f'11:3: {M}.data: expected a role and its data set, found "digits"; write {{student: di'],
    ),
    ("seed", "[0]", [f'24:3: {M}.seed: unknown key; did you mean "seeds"?']),
]


@pytest.mark.parametrize(
    ("name", "value", "lines"), BAD, ids=[f"{name}: {value}" for name, value, _ in BAD]
)
def test_a_mistake_gives_its_line(name, value, lines):
    with pytest.raises(UserError) as caught:
        matrix_with(**{name: value})
    prefix = "benchmarks/quick/benchmark.yaml:"
    found = [line.removeprefix(prefix) for line in str(caught.value).splitlines()]
    if lines is None:  # as the one before
        assert len(found) == 1
        return
    assert len(found) == len(lines), found
    for line, expected in zip(found, lines, strict=True):
        assert line.startswith(expected)


def test_an_old_file_gets_one_line_for_each_renamed_key():
    old = QUICK.replace("  eval_subset: {", "  slice: {").replace("  poisons: ", "  strikes: ")
    assert lines_of(old) == [
        f"18:3: {M}.strikes: this key is now called poisons; rename it",
        f"20:3: {M}.slice: this key is now called eval_subset; rename it",
    ]


def test_an_old_name_means_nothing_where_the_new_one_is_no_key():
    line = QUICK.replace("schema: benchmark/1", "schema: benchmark/1\nslice: {examples: 5}")
    assert lines_of(line) == ['2:1: slice: unknown key; did you mean "schema"?']


def test_names_and_titles_of_matrices_are_unique():
    matrix = QUICK.partition("matrices:\n")[2]
    assert lines_of(QUICK + matrix) == [
        '24:3: matrices[1].name: duplicate name "digits-linf"; rename one',
        '25:3: matrices[1].title: duplicate title "Handwritten digits"; rename one',
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("title: Quick\n", "", "1:1: title: missing; add title"),
        ("question: Does all of it run?\n", "", "1:1: question: missing; add question"),
        ("  title: Handwritten digits\n", "", f"7:3: {M}.title: missing; add title"),
        (
            "  question: What is left of a defence?\n",
            "",
            f"7:3: {M}.question: missing; add question",
        ),
        (
            "Does all of it run?",
            "All of it runs.",
            "4:1: question: expected a sentence that ends with a question mark, found "
            '"All of it runs."; ask what the figures answer',
        ),
        (
            "title: Quick",
            "title: ' '",
            '3:1: title: expected one line of text, found " "; write one',
        ),
        (
            "title: Quick",
            'title: Quick\nout_of_scope: "two\\nlines"',
            '4:1: out_of_scope: expected one line of text, found "two\\nlines"; write one',
        ),
    ],
)
def test_what_it_is_about_is_required_one_line_each(old, new, line):
    assert lines_of(QUICK.replace(old, new)) == [line]


def test_the_name_is_the_folders():
    assert lines_of(QUICK.replace("name: quick", "name: slow")) == [
        '2:1: name: expected the folder\'s name "quick", found "slow"; rename one of them'
    ]


def test_every_error_of_every_file_at_once():
    good = write(QUICK)
    bad = write(QUICK.replace("name: quick", "name: bad").replace("seeds: [0", "seeds: [x"), "bad")
    worse = write("a: 1\na: 2\n", "worse")
    benchmarks, errors = check_benchmarks([good, bad, worse])
    assert [b.name for b in benchmarks] == ["quick"]
    assert [str(e).split(": ")[0] for e in errors] == [
        "benchmarks/bad/benchmark.yaml:22:11",
        "benchmarks/worse/benchmark.yaml:1:1",
        "benchmarks/worse/benchmark.yaml:2:1",
    ]
