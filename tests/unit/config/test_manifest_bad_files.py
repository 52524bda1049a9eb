"""Manifests: each mistake gives its own line."""

from pathlib import Path

import pytest

from harness.config.manifest_file import check_manifests
from tests.support.manifest_files import PGD, VICTIM, lines_of, write

pytestmark = pytest.mark.usefixtures("root")

# (what is replaced, by what, the expected lines)
BAD = [
    ("schema: manifest/1\n", "", ["1:1: schema: missing; add schema: manifest/1"]),
    (
        "schema: manifest/1",
        "schema: manifest/2",
        [
            '1:1: schema: "manifest/2" is newer than this gauntlet, which knows manifest/1; '
            "upgrade gauntlet"
        ],
    ),
    (
        "schema: manifest/1",
        "schema: benchmark/1",
        ['1:1: schema: expected manifest/1, found "benchmark/1"; write manifest/1'],
    ),
    (
        "kind: attack",
        "kind: atack",
        [
            '2:1: kind: expected one of attack, defense, victim, found "atack"; '
            'did you mean "attack"?'
        ],
    ),
    (
        "kind: attack",
        "kind: 3",
        [
            "2:1: kind: expected one of attack, defense, victim, found 3; choose one of them",
        ],
    ),
    (
        "name: pgd",
        "name: pgd2",
        ['3:1: name: expected the folder\'s name "pgd", found "pgd2"; rename one of them'],
    ),
    (
        "name: pgd",
        "name: P G",
        [
            '3:1: name: expected the folder\'s name "pgd", found "P G"; rename one of them',
            '3:1: name: expected up to 41 of a-z, 0-9, _ and -, found "P G"; '
            "use a name that can be a folder and a part of an address",
        ],
    ),
    ("license: MIT\n", "", ["1:1: license: missing; add license"]),
    ("license: MIT", "license: 1.10", ['6:1: license: expected text, found 1.1; quote it: "1.1"']),
    ("license: MIT", "licence: MIT", None),
    (
        "params:\n",
        "parms:\n",
        [
            '12:1: parms: unknown key; did you mean "params"?',
        ],
    ),
    (
        "year: 2018",
        "year: 1066",
        ["5:59: reference.year: expected at least 1900, found 1066; change it"],
    ),
    (
        "tasks: [classification, segmentation]",
        "tasks: [classification, clasification]",
        [
            "7:25: tasks[1]: expected one of classification, ranking, segmentation, found "
            '"clasification"; did you mean "classification"?'
        ],
    ),
    (
        "tasks: [classification, segmentation]",
        "tasks: classification",
        ['7:1: tasks: expected a list, found "classification"; write [classification]'],
    ),
    (
        "tasks: [classification, segmentation]",
        "tasks: []",
        ["7:1: tasks: expected at least one entry, found []; add one"],
    ),
    (
        "needs: [loss]",
        "needs: [loss, loss]",
        ['9:1: needs: duplicate entry "loss"; keep one'],
    ),
    (
        "threat_models: [evasion]\n",
        "",
        [
            "1:1: threat_models: missing; add threat_models: [evasion, evasion-query, "
            "evasion-transfer, poisoning, backdoor, supply-chain] or some of them"
        ],
    ),
    (
        "entry: attack.py:PGD",
        "entry: attack.py",
        [
            "10:1: entry: expected file.py:Class inside the module's folder, found "
            '"attack.py"; write for example attack.py:PGD'
        ],
    ),
    (
        "entry: attack.py:PGD",
        "entry: ../fgsm/attack.py:PGD",
        [
            "10:1: entry: expected file.py:Class inside the module's folder, found "
            '"../fgsm/attack.py:PGD"; write for example attack.py:PGD'
        ],
    ),
    (
        "entry: attack.py:PGD",
        "entry: /etc/attack.py:PGD",
        None,
    ),
    (
        "entry: attack.py:PGD",
        "entry: pgd.py:PGD",
        ['10:1: entry: there is no "pgd.py" in the folder; write it'],
    ),
    (
        "entry: attack.py:PGD",
        "entry: ../pgd/pgd.py:PGD",
        None,
    ),
    (
        "hooks: [perturb]",
        "hooks: [pertrub]",
        ['11:9: hooks[0]: kind: attack has no hook "pertrub"; did you mean "perturb"?'],
    ),
    (
        "hooks: [perturb]",
        "hooks: []",
        [
            "11:1: hooks: an attack without a hook; "
            "add one of learn, perturb, poison, trigger, deliver"
        ],
    ),
    (
        "needs: [loss]",
        "needs: [loss]\nblind: true\njoint: true",
        [
            "10:1: blind: this key is now called no_model_access; rename it",
            "11:1: joint: this key is now called batch_dependent; rename it",
        ],
    ),
    (
        "needs: [loss]",
        "offers: [loss]",
        ["9:1: offers: means nothing for kind: attack; remove it; it is for victim"],
    ),
    (
        "  steps: {",
        "  eps: {",
        [
            "13:3: params.eps: eps is limited by the threat model, so it belongs to the "
            "benchmark; remove it and read budget, goal or ctx.seed() in the hook",
            '17:22: variants.pgd-100.steps: attacks/pgd has no parameter "steps"; '
            'did you mean "eps"?',
            '19:18: smoke.params.steps: attacks/pgd has no parameter "steps"; did you mean "eps"?',
        ],
    ),
    (
        "  restart: {",
        "  no way: {",
        ['16:3: params.no way: "no way" cannot be a keyword argument; use a Python name'],
    ),
    (
        "{type: int, default: 20,",
        "{type: integer, default: 20,",
        [
            "13:11: params.steps.type: expected one of int, float, bool, str, file, "
            'found "integer"; did you mean "int"?'
        ],
    ),
    (
        "default: 20,",
        "default: '20',",
        [
            "13:22: params.steps.default: expected a whole number from 1 up to 1000, found "
            '"20"; it means: gradient steps'
        ],
    ),
    (
        "default: 20,",
        "default: 2000,",
        [
            "13:22: params.steps.default: expected a whole number from 1 up to 1000, found 2000; "
            "it means: gradient steps"
        ],
    ),
    ("default: 20, ", "", ["13:3: params.steps.default: missing; add default"]),
    (
        "min: 1, max: 1000",
        "min: 1000, max: 1",
        ["13:35: params.steps.min: min 1000 is above max 1; swap them"],
    ),
    (
        "type: bool, default: false",
        "type: bool, default: false, min: 0",
        ["16:13: params.restart.type: a range for bool; use choices"],
    ),
    (
        "default: random, choices",
        "default: rnd, choices",
        [
            '15:22: params.start.default: expected one of "random", "clean", found "rnd"; '
            'did you mean "random"?'
        ],
    ),
    (
        "choices: [random, clean]",
        "choices: [random, 3]",
        ["15:57: params.start.choices[1]: expected text, found 3; change it"],
    ),
    (
        "pgd-100: {steps: 100}",
        "pgd-100: {stepz: 100}",
        [
            '17:22: variants.pgd-100.stepz: attacks/pgd has no parameter "stepz"; '
            'did you mean "steps"?'
        ],
    ),
    (
        "pgd-100: {steps: 100}",
        "PGD: {steps: 100}",
        [
            '17:12: variants.PGD: expected up to 41 of a-z, 0-9, _ and -, found "PGD"; '
            "use a name that can be a folder and a part of an address"
        ],
    ),
    (
        "pgd-100: {steps: 100}",
        "pgd-100: {steps: [1, 2]}",
        [
            "17:22: variants.pgd-100.steps: expected a number, text, true or false, "
            "found [1, 2]; change it"
        ],
    ),
    (
        "minutes: 20",
        "minutes: 0",
        ["18:10: limits.minutes: expected more than 0, found 0; change it"],
    ),
    (
        "minutes: 20",
        "minutes: '20'",
        ['18:10: limits.minutes: expected a number, found "20"; remove the quotes'],
    ),
    (
        "{min: 0.3}",
        "{}",
        ["19:38: smoke.expect.attack_success_rate: neither min nor max; give one"],
    ),
    (
        "smoke: {",
        "smoke: {variant: pgd-10, ",
        ['19:9: smoke.variant: attacks/pgd has no variant "pgd-10"; did you mean "pgd-100"?'],
    ),
    (
        "smoke: {",
        "smoke: {task: ranking, ",
        [
            "19:9: smoke.task: ranking is not among the module's tasks; "
            "choose of classification, segmentation"
        ],
    ),
    (
        "smoke: {",
        "smoke: {budget: {eps: 8/255}, ",
        ["19:18: smoke.budget.eps: eps without a norm; add norm: linf or norm: l2"],
    ),
    (
        PGD,
        "- a list\n",
        ['1:1: expected keys and values, found ["a list"]; see README.md'],
    ),
]


@pytest.mark.parametrize(("old", "new", "lines"), BAD, ids=[f"{new[:40]!r}" for _, new, _ in BAD])
def test_a_mistake_gives_its_line(root, old, new, lines):
    assert old in PGD
    path = write(PGD.replace(old, new, 1))
    found = lines_of(path)
    if lines is None:  # several lines; that there is one is enough
        assert found
        return
    assert found == lines


def test_a_duplicated_key_hides_no_other_mistake():
    text = PGD.replace("license: MIT", "license: MIT\nlicense: MIT\nlicence: MIT")
    text = text.replace("name: pgd", "name: [pgd]").replace("steps: 100", "steps: 0").replace(
        "min: 0}", "min: 010}")  # fmt: skip
    assert lines_of(write(text)) == [
        '3:1: name: expected text, found ["pgd"]; change it',
        "7:1: license: duplicate key (first on line 6); keep one",
        '8:1: licence: unknown key; did you mean "license"?',
        "16:42: params.rate.min: a number with a leading zero is ambiguous, found 010; "
        'quote it ("010") if it is text',
    ]


def test_the_mistakes_of_the_first_of_two_equal_keys_are_told():
    text = PGD.replace("tasks: [", "tasks: [clasification]\ntasks: [")
    assert lines_of(write(text)) == [
        "7:9: tasks[0]: expected one of classification, ranking, segmentation, found "
        '"clasification"; did you mean "classification"?',
        "8:1: tasks: duplicate key (first on line 7); keep one",
    ]


def test_what_was_refused_is_not_also_called_a_wrong_value():
    text = PGD.replace("summary: Proj", "summary: !x Proj").replace("license: MIT", "license: *x")
    assert [line.partition(": ")[0] for line in lines_of(write(text))] == ["4:10", "6:10"]
    text = PGD.replace("name: pgd", "name: pgd\n<<: {license: MIT}").replace(
        "schema: m", "schema: &a m"
    )
    assert [line.partition(": ")[0] for line in lines_of(write(text))] == ["1:9", "4:1"]


def test_a_file_from_a_newer_gauntlet_says_so_beside_what_was_refused():
    text = PGD.replace("manifest/1", "manifest/2").replace("name: pgd", "name: pgd\nname: pgd")
    first, second = lines_of(write(text))
    assert "is newer than this gauntlet" in first
    assert second == "4:1: name: duplicate key (first on line 3); keep one"


def test_all_mistakes_of_all_files_come_together():
    write(PGD.replace("license: MIT", "license: MIT\nlicense: MIT"))
    write(VICTIM.replace("license: MIT\n", ""), "victims/pgd")
    good, errors = check_manifests([Path("attacks/pgd"), Path("victims/pgd")])
    assert good == []
    assert [one.where.partition(":")[0] for one in errors] == [
        "attacks/pgd/manifest.yaml",
        "victims/pgd/manifest.yaml",
    ]


def test_a_module_in_the_wrong_folder():
    assert lines_of(write(PGD, "defenses/pgd")) == [
        "2:1: kind: expected defense in defenses/, found attack; move the folder to attacks/"
    ]


def test_a_victim_needs_build_and_recipe():
    path = write(VICTIM.replace("[build, recipe]", "[build]"), "victims/pgd")
    assert lines_of(path) == ["9:1: hooks: a victim needs recipe; implement and add it"]


def test_every_error_of_every_file_at_once():
    good = write(PGD)
    first = write(PGD.replace("kind: attack", "kind: x").replace("year: 2018", "year: x"), "a/pgd")
    second = write("a: [\n", "b/pgd")
    manifests, errors = check_manifests([first, good, second, Path("nowhere")])
    assert [m.name for m in manifests] == ["pgd"]
    assert [str(e).split(": ")[0] for e in errors] == [
        "a/pgd/manifest.yaml:2:1",
        "a/pgd/manifest.yaml:5:59",
        "b/pgd/manifest.yaml:2:1",
        "nowhere",
    ]
