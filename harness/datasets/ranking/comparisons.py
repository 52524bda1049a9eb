"""Human age, LFW-10 and Food-100: human comparisons, read from the lists of their authors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from harness.datasets.base import Card, comparison_spec
from harness.datasets.ranking.grammars import GRAMMARS
from harness.datasets.ranking.item_images import SIZE
from harness.datasets.ranking.list_reader import ComparisonLayout, write_arrays
from harness.datasets.ranking.source import RankingSource, make_dataset

_AUTHORS = {"train": "train/clean_0.txt", "val": "val.txt", "test": "test.txt"}
_WITHOUT_VAL = {"train": "train/clean_0.txt", "test": "test.txt"}
_ANNOTATIONS = "https://github.com/qianqianxu010/TPAMI21-Not-All-Samples-are-Trustworthy"
_SHAPE = (3, SIZE[1], SIZE[0])
_DIMENSIONS = 5

AGE = ComparisonLayout(
    name="age",
    grammar=GRAMMARS["age"],
    list_files=(
        _AUTHORS,
        _WITHOUT_VAL,
        {"train": "train_unvoted_age.txt", "val": "val_age.txt", "test": "test_age.txt"},
    ),
    folders=("", "data/age/", "age/data/"),
    shares={"val": 0.1},
    accepted=(
        "train_unvoted_age.txt, val_age.txt and test_age.txt, or train/clean_0.txt and test.txt "
        "(also below age/data/ or data/age/, or in .tar.* archives), and the images in imgs/"
    ),
    votes=True,
)
LFW10 = ComparisonLayout(
    name="lfw10",
    grammar=GRAMMARS["lfw10"],
    list_files=(
        _AUTHORS,
        _WITHOUT_VAL,
        {"train": "train_LFW10.txt", "val": "val_lfw.txt", "test": "test_lfw.txt"},
        {"train": "train_LFW10.txt", "test": "test_LFW10.txt"},
    ),
    folders=("", "data/lfw/", "lfw/data/"),
    shares={"val": 0.1},
    accepted=(
        "train_LFW10.txt with val_lfw.txt and test_lfw.txt or with test_LFW10.txt, or "
        "train/clean_0.txt and test.txt (also below lfw/data/ or data/lfw/, or in .tar.* "
        "archives), and the images in imgs/"
    ),
    votes=True,
)
_FOOD_FILES = (
    _AUTHORS,
    _WITHOUT_VAL,
    {"train": "train/clean_0.txt"},
    {"train": "clean_0.txt"},
)
FOOD = ComparisonLayout(
    name="food",
    grammar=GRAMMARS["food"],
    list_files=_FOOD_FILES,
    folders=("", "data/food/"),
    shares={"val": 0.04, "test": 0.16},
    accepted=(
        "train/clean_0.txt, and test.txt if you have it (also below data/food/, or in .tar.* "
        "archives), or clean_0.txt alone"
    ),
    images=False,
)

_AGE = RankingSource(
    name="age",
    version=1,
    spec=comparison_spec(["younger"], _SHAPE),
    write_arrays=partial(write_arrays, AGE),
    accepted=AGE.accepted,
    origin=f"the lists from {_ANNOTATIONS}, folder age/data, and the photographs of FG-NET",
    grammar=AGE.grammar,
    voted=True,
)
_LFW10 = RankingSource(
    name="lfw10",
    version=1,
    spec=comparison_spec(
        [
            "bald head",
            "dark hair",
            "eyes open",
            "good looking",
            "masculine looking",
            "mouth open",
            "smile",
            "visible teeth",
            "visible forehead",
            "young",
        ],
        _SHAPE,
    ),
    write_arrays=partial(write_arrays, LFW10),
    accepted=LFW10.accepted,
    origin=f"the lists from {_ANNOTATIONS}, and the photographs of LFW10.zip (IIIT Hyderabad)",
    grammar=LFW10.grammar,
    voted=True,
)
_FOOD = RankingSource(
    name="food",
    version=1,
    spec=comparison_spec(["taste"], (), arity=3, outputs=_DIMENSIONS, items=FOOD.grammar.items),
    write_arrays=partial(write_arrays, FOOD),
    accepted=FOOD.accepted,
    origin="https://github.com/statusrank/Sever, data/food/train/clean_0.txt",
    grammar=FOOD.grammar,
)
CACHE_ENTRIES = {
    "age": _AGE.cache_entry,
    "age-unvoted": _AGE.cache_entry,
    "lfw10": _LFW10.cache_entry,
    "lfw10-unvoted": _LFW10.cache_entry,
    "food": _FOOD.cache_entry,
}

_AGE_CARD = Card(
    title="Human age: which of two faces is younger, as the majority of five voted",
    license="lists MIT; the photographs (FG-NET) are for research and may not be passed on",
    citation=(
        "Q. Xu, Z. Yang, Y. Jiang, X. Cao, Y. Yao, Q. Huang: Not All Samples are Trustworthy: "
        "Towards Deep Robust SVP Prediction. IEEE TPAMI 44(6), 2022. "
        "A. Lanitis, C. J. Taylor, T. F. Cootes: Toward Automatic Simulation of Aging Effects on "
        "Face Images. IEEE TPAMI 24(4), 2002."
    ),
    source=f"{_AGE.origin}; not downloaded",
    size="3,000 train, 55,408 validation, 55,409 test pairs of 1,002 faces; 224x224 RGB",
    note=(
        "+1 means that the first is YOUNGER. Validation and test follow the true ages; the votes "
        "of train are simulated, a fifth of them wrong, so that 94.07 % of its labels are right."
    ),
)
_LFW10_CARD = Card(
    title="LFW-10: which of two faces shows more of an attribute, as most annotators said",
    license="lists MIT; the photographs (Labeled Faces in the Wild) are for research",
    citation=(
        "R. N. Sandeep, Y. Verma, C. V. Jawahar: Relative Parts: Distinctive Parts for Learning "
        "Relative Attributes. CVPR 2014. "
        "Q. Xu, Z. Yang, Y. Jiang, X. Cao, Q. Huang, Y. Yao: Deep Robust Subjective Visual "
        "Property Prediction in Crowdsourcing. CVPR 2019."
    ),
    source=f"{_LFW10.origin}; not downloaded",
    size="4,101 train, 2,343 validation, 2,345 test pairs, 10 attributes; 224x224 RGB",
    note=(
        "Votes for `equal` are not in the lists, and pairs whose votes tie are left out. Without "
        "val_lfw.txt, a tenth of the compared pairs of train is validation."
    ),
)

DATASETS = (
    make_dataset(_AGE, _AGE_CARD, (3_000, 55_408, 55_409), voted=True),
    make_dataset(
        _AGE,
        replace(
            _AGE_CARD,
            title="Human age: which of two faces is younger, every judgement a row",
            size="5,013 train, 55,408 validation, 55,409 test rows about 1,002 faces; 224x224 RGB",
            note=(
                "+1 means that the first is YOUNGER. Where votes differ, a pair has two opposite "
                "rows of equal weight: 59.8 % of train's are right. One fetch serves `age` too."
            ),
        ),
        (5_013, 55_408, 55_409),
        name="age-unvoted",
    ),
    make_dataset(_LFW10, _LFW10_CARD, (4_101, 2_343, 2_345), voted=True),
    make_dataset(
        _LFW10,
        replace(
            _LFW10_CARD,
            title="LFW-10: which of two faces shows more of an attribute, every judgement a row",
            size="6,699 train, 2,343 validation, 2,345 test rows, 10 attributes; 224x224 RGB",
            note=(
                "Where votes differ, a pair has two opposite rows of equal weight. One fetch "
                "serves `lfw10` too."
            ),
        ),
        (6_699, 2_343, 2_345),
        name="lfw10-unvoted",
    ),
    make_dataset(
        _FOOD,
        Card(
            title="Food-100: which of two dishes tastes more like a third",
            license="unclear: the file is in a repository with two licences merged; the judgements "
            "are those of Cornell's Food-100",
            citation=(
                "M. J. Wilber, I. S. Kwak, S. J. Belongie: Cost-Effective HITs for Relative "
                "Similarity Comparisons. HCOMP 2014."
            ),
            source=f"{_FOOD.origin}; not downloaded",
            size="30,343 train, 1,514 validation, 6,061 test triplets of 100 dishes; no pictures",
            note=(
                "Inputs are the dishes' numbers; a model learns an embedding of each in five "
                "dimensions. All labels are +1 (the second is nearer to the first), so there is "
                "no AUC. Splits are made by hash, unless test.txt is there; (a, p, q) and "
                "(a, q, p) are never in two of them."
            ),
        ),
        (30_343, 1_514, 6_061),
    ),
)
