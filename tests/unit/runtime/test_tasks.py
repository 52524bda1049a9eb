"""What crosses from a network to others: type, shape, finite values, and labels that count."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.datasets.base import MOST_CLASSES, image_spec
from harness.judge.maps import NOT_FINITE
from harness.runtime import dense
from harness.runtime.contracts import Budget, OutputError, Spec
from harness.runtime.model import LiveModel
from harness.runtime.problem import Problem
from harness.runtime.tasks import NO_CLASS, TASKS, check_answer, loss_for, predicted_classes
from tests.support.modules import context, live, module

IMAGES = Spec("classification", 10, (1, 8, 8))
MAPS = Spec("segmentation", 4, (3, 5, 6), void=255)
ITEMS = Spec("ranking", 2, (7,), arity=2)
MANY = Spec("classification", 300, (1, 8, 8))

ANSWERS = [
    (IMAGES, torch.zeros(3, 10)),
    (ITEMS, torch.full((3, 2), torch.nan)),
    (MAPS, torch.zeros(3, 4, 5, 6)),
    (MAPS, torch.zeros(3, 5, 5, 6)),  # one output more, for void
]
SPECS = [IMAGES, ITEMS, MAPS]


@pytest.mark.parametrize(("spec", "out"), ANSWERS)
def test_an_answer_of_the_table_s_form_is_the_answer(spec, out):
    assert check_answer(out, torch.zeros(3, *spec.shape), spec) is out


@pytest.mark.parametrize(("spec", "out"), ANSWERS)
def test_what_is_stored_is_a_copy(spec, out):
    out = out.clone().requires_grad_()
    stored = TASKS[spec.task].store(out)
    before = stored.clone()
    out.data.fill_(-1).view(-1)[-1] = 9
    assert torch.equal(stored.nan_to_num(), before.nan_to_num())
    assert not stored.requires_grad


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "int64", "complex64"])
def test_an_answer_of_another_type_is_refused_by_its_name(spec, name):
    x = torch.zeros(3, *spec.shape)
    out = torch.zeros(TASKS[spec.task].shapes(x, spec)[0], dtype=getattr(torch, name))
    with pytest.raises(OutputError) as caught:
        check_answer(out, x, spec)
    assert str(caught.value) == (
        f"the network returned {name}, expected float32; return outputs.float()"
    )


@pytest.mark.parametrize(
    ("spec", "shape", "rows"),
    [
        (IMAGES, (10,), 1),  # F22: squeeze() of a single row
        (IMAGES, (3,), 3),
        (IMAGES, (9, 3), 3),
        (ITEMS, (3,), 3),
        (MAPS, (4, 5, 6), 1),
        (MAPS, (3, 4, 5, 5), 3),
    ],
)
def test_an_answer_of_another_shape_is_refused(spec, shape, rows):
    with pytest.raises(OutputError) as caught:
        check_answer(torch.zeros(shape), torch.zeros(rows, *spec.shape), spec)
    said = f"the network returned shape {list(shape)} for {rows} inputs, expected [{rows}, "
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("spec", "shape"), [(IMAGES, (3, 9)), (MAPS, (3, 3, 5, 6)), (MAPS, (3, 6, 5, 6))]
)
def test_another_number_of_outputs_is_named(spec, shape):
    with pytest.raises(OutputError) as caught:
        check_answer(torch.zeros(shape), torch.zeros(3, *spec.shape), spec)
    said = f"the network has {shape[1]} outputs, and the data set {spec.outputs}; "
    assert str(caught.value).startswith(said)


def test_an_answer_that_is_no_dense_tensor_is_refused():
    with pytest.raises(OutputError, match="returned a sparse tensor"):
        check_answer(torch.zeros(3, 10).to_sparse(), torch.zeros(3, 1, 8, 8), IMAGES)
    with pytest.raises(OutputError, match="returned tuple, expected a Tensor"):
        check_answer((torch.zeros(3, 10), 1), torch.zeros(3, 1, 8, 8), IMAGES)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_pixel_that_is_not_finite_has_no_class(bad):
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, 6)
    wanted = logits.argmax(1)
    logits[0, 2, 3, 4] = logits[1, 0, 0, 0] = bad
    wanted[0, 3, 4] = wanted[1, 0, 0] = NO_CLASS
    assert torch.equal(predicted_classes(logits), wanted)
    stored = TASKS["segmentation"].store(logits)
    assert stored.dtype == torch.uint8
    assert torch.equal(stored.long(), wanted)


def test_the_judge_knows_the_class_of_no_class_and_no_data_set_has_it():
    assert NO_CLASS == NOT_FINITE
    # numbers from 0, and one output more for void
    assert image_spec("segmentation", ["a"] * MOST_CLASSES, (3, 4, 4))["outputs"] < NO_CLASS
    with pytest.raises(ValueError, match="255 classes"):
        image_spec("segmentation", ["a"] * 255, (3, 4, 4))
    assert image_spec("classification", ["a"] * 300, (3, 4, 4))["outputs"] == 300


def test_only_the_data_set_s_void_does_not_count():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, 6)
    y = torch.randint(0, 4, (2, 5, 6), dtype=torch.uint8)
    found = loss_for(Spec("segmentation", 4, (3, 5, 6)))(nn.Identity(), logits, y)
    every = F.cross_entropy(logits, y.long(), reduction="none")
    assert torch.allclose(found, every.mean((1, 2)))
    # another number than 255: void is a fact of the data set
    y[0, :2] = 9
    found = loss_for(Spec("segmentation", 4, (3, 5, 6), void=9))(nn.Identity(), logits, y)
    assert found[0] == pytest.approx(every[0, 2:].mean().item())
    pixels = dense.values(dense.cross_entropy, logits, y, 9)
    assert torch.allclose(dense.mean(pixels, y, void=9), found)
    problem = Problem(live(nn.Identity(), Spec("segmentation", 4, (3, 5, 6), void=9)), y)
    assert not problem.active(logits)[0, :2].any()


def many_classes():
    """A linear classifier of 300 classes, and 20 inputs of each of two."""
    torch.manual_seed(0)
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(64, 300)), torch.rand(400, 1, 8, 8)
    with torch.no_grad():
        network[1].bias[254:256] += 2
        y = network(x).argmax(1)
    rows = torch.cat([torch.where(y == k)[0][:20] for k in (254, 255)])
    assert len(rows) == 40
    return network, x[rows], y[rows]


@pytest.mark.parametrize(("name", "params"), [("fgsm", {}), ("pgd", {}), ("apgd", {"steps": 20})])
def test_class_255_of_a_classifier_is_attacked_as_any_other(name, params, tmp_path):
    network, x, y = many_classes()
    model: LiveModel = live(network, MANY)
    given = (model, x, y, None, Budget(norm="linf", eps=0.1), context(tmp_path, MANY))
    found = module("attack", name, **params).perturb(*given)
    right = network(found).argmax(1) == y
    # F9: apgd left 90 % of class 255 right, and 15 % of class 254
    assert right[20:].float().mean() < 0.4
    assert abs(right[20:].float().mean() - right[:20].float().mean()) <= 0.2


def test_class_255_of_a_classifier_counts_in_every_loss():
    y = torch.tensor([254, 255])
    logits = torch.zeros(2, 300)
    for name, loss_fn in dense.LOSSES.items():
        values = dense.values(loss_fn, logits, y)
        assert values[0] == values[1], name
        # masked-ce: of pixels that are right, and a tie goes to class 0; dlr is the margin's sign
        if name not in ("masked-ce", "dlr"):
            assert values[1] != 0
    problem = Problem(live(nn.Identity(), MANY), y, loss_fn=dense.cross_entropy)
    assert problem.loss_of(logits).tolist() == pytest.approx(
        [F.cross_entropy(logits, y).item()] * 2
    )
    assert problem.active(F.one_hot(y, 300).float()).tolist() == [True, True]
