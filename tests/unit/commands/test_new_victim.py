"""``gauntlet new victim --weights``: the scaffold has a network that the weights fit."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from harness.commands.lint import check_lint
from harness.commands.new import new
from harness.commands.placeholders import unwritten
from harness.common.errors import UserError
from harness.config.catalog import Module
from harness.config.manifest_file import load_manifest
from harness.conformance.runner import CheckResult
from harness.planning.weights import find, weights_recipe
from harness.runtime.weight_files import read_tensors
from harness.workspace import Workspace
from tests.support.onnx_files import input_of, model, node, tensor
from tests.support.relu_nets import idx_images
from tests.support.sources import shared


def conv_net() -> nn.Sequential:
    """The small network of many verified robust ones, for 28x28 grey pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(4, 6, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(6 * 49, 12), nn.ReLU(), nn.Linear(12, 10),
    )  # fmt: skip


def make(root: Path, *files: Path, kind: str = "victim") -> tuple[Module, str]:
    """A new folder, and what was printed."""
    said = io.StringIO()
    new(Workspace(root, root / "home"), kind, "mine", Console(file=said, width=200), files)
    folder = root / "victims" / "mine"
    return Module(folder, load_manifest(folder)), said.getvalue()


def build(module: Module) -> tuple[object, nn.Module]:
    """The victim of a folder and its network."""
    spec = importlib.util.spec_from_file_location("mine", module.folder / "victim.py")
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    victim = code.Victim(steps=1)
    return victim, victim.build(None)


def loaded(module: Module, root: Path, name: str) -> nn.Module:
    """The network with its weights, as the stage ``import`` reads them."""
    victim, network = build(module)
    tensors = read_tensors(find(weights_recipe(module, name), root / "home" / "data"))
    if "import_weights" in module.manifest.hooks:
        tensors = victim.import_weights(tensors)
    network.load_state_dict(tensors, strict=True)
    return network.eval()


def test_a_plain_network_is_written_out_and_computes_the_same(tmp_path):
    network, x = conv_net(), torch.rand(3, 1, 28, 28)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "Net.A.pth")
    module, said = make(tmp_path, tmp_path / "Net.A.pth")
    assert check_lint(module) == CheckResult("lint", True)
    assert torch.allclose(loaded(module, tmp_path, "net-a")(x), network(x), atol=1e-6)
    (needed,) = module.manifest.requires
    assert (needed.channels, needed.side, needed.classes) == ((1,), (28,), (10,))
    assert module.manifest.hooks == ("build", "recipe")
    assert "0.weight  0.weight  4x1x4x4            float32" in said
    assert "`# a guess`" in said
    assert build(module)[0].stages == ("1", "3")


def test_two_files_are_two_weights_and_another_network_is_said(tmp_path):
    torch.save(conv_net().state_dict(), tmp_path / "a.pth")
    torch.save(conv_net().state_dict(), tmp_path / "b.pth")
    torch.save(nn.Sequential(nn.Linear(4, 2)).state_dict(), tmp_path / "c.pth")
    module, said = make(tmp_path, *(tmp_path / f"{name}.pth" for name in "abc"))
    assert list(module.manifest.weights) == ["a", "b", "c"]
    loaded(module, tmp_path, "b")
    assert "c is another network than a" in said
    assert "b is another network" not in said


def test_what_nobody_can_guess_is_marked_until_it_is_written(tmp_path):
    torch.save(conv_net().state_dict(), tmp_path / "a.pth")
    module, said = make(tmp_path, tmp_path / "a.pth")
    places = [error.where.rpartition(": ")[2] for error in unwritten(module.manifest)]
    assert places == ["weights.a.license", "weights.a.source", "weights.a.trained_on"]
    assert "replace each TODO" in said
    manifest = module.folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("TODO", "MIT"))
    assert unwritten(load_manifest(manifest)) == []


@pytest.mark.parametrize("transposed", [True, False])
def test_arrays_are_one_network_whose_names_are_mapped(tmp_path, transposed):
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(3 * 25, 7), nn.ReLU(), nn.Linear(7, 5)), 0
    for place, layer in ((1, network[1]), (2, network[3])):
        weight = layer.weight.detach().numpy()
        np.save(tmp_path / f"net_W{place}.npy", weight.T if transposed else weight)
        np.save(tmp_path / f"net_B{place}.npy", layer.bias.detach().numpy())
    module, said = make(tmp_path, *sorted(tmp_path.glob("*.npy")))
    assert check_lint(module) == CheckResult("lint", True)
    x = torch.rand(2, 3, 5, 5)
    assert torch.allclose(loaded(module, tmp_path, "net")(x), network(x), atol=1e-6)
    (needed,) = module.manifest.requires
    assert (needed.channels, needed.side, needed.classes) == ((3,), (5,), (5,))
    assert ("(transposed)" in said) is transposed


def onnx_net(*, branch: bool = False) -> tuple[bytes, nn.Module]:
    """A network with a convolution whose stride no shape tells, as ONNX and in PyTorch."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4))
    values = {name: one.numpy() for name, one in network.state_dict().items()}
    content = model(
        inputs=[input_of("x", (0, 1, 9, 9))],
        tensors=[tensor(f"net/{name}", array) for name, array in values.items()],
        nodes=[
            node("Conv", "x", "a", ("net/0.weight", "net/0.bias"), strides=[3, 3], group=1),
            node("Relu", "a", "b"),
            node("Shape", "b", "s"),
            node("Reshape", "x" if branch else "b", "c", ("s",)),
            node("Gemm", "c", "y", ("net/3.weight", "net/3.bias"), transB=1, alpha=1.0),
        ],
    )
    return content, network


def test_an_onnx_graph_tells_strides_and_sides(tmp_path):
    content, network = onnx_net()
    (tmp_path / "net.onnx").write_bytes(content)
    module, said = make(tmp_path, tmp_path / "net.onnx")
    x = torch.rand(2, 1, 9, 9)
    assert torch.allclose(loaded(module, tmp_path, "net")(x), network(x), atol=1e-6)
    assert module.manifest.requires[0].side == (9,)
    assert "a guess" not in (module.folder / "victim.py").read_text() + said
    assert check_lint(module) == CheckResult("lint", True)


def test_a_graph_with_branches_is_left_to_the_author(tmp_path):
    (tmp_path / "net.onnx").write_bytes(onnx_net(branch=True)[0])
    module, said = make(tmp_path, tmp_path / "net.onnx")
    assert "could not be guessed: its Reshape does not take what comes before it" in said
    assert "net/0.weight" in said
    (needed,) = module.manifest.requires
    assert (needed.channels, needed.side, needed.classes) == ((1,), (), (4,))
    assert check_lint(module) == CheckResult("lint", True)


OTHERS = {
    "a residual block": {
        "conv1.weight": (8, 3, 3, 3),
        "layer1.0.conv1.weight": (8, 4, 3, 3),
        "fc.weight": (20, 8),
        "fc.bias": (20,),
    },
    "batch norm": {
        "0.weight": (8, 3, 3, 3),
        "1.weight": (8,),
        "1.bias": (8,),
        "1.running_var": (8,),
    },
    "no layers": {"embedding": (5,)},
    "values of no square": {"0.weight": (10, 7), "0.bias": (10,)},
    "a convolution after a linear layer": {"0.weight": (4, 16), "1.weight": (2, 4, 3, 3)},
}


@pytest.mark.parametrize("shapes", OTHERS.values(), ids=OTHERS)
def test_other_tensors_are_listed_and_the_network_left_to_the_author(tmp_path, shapes):
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "net.pt")
    module, said = make(tmp_path, tmp_path / "net.pt")
    assert "could not be guessed: its tensors are no plain sequence of layers" in said
    assert all(f"–        {name}" in said for name in shapes)
    assert list(module.manifest.weights) == ["net"]
    assert check_lint(module) == CheckResult("lint", True)
    if "fc.weight" in shapes:
        (needed,) = module.manifest.requires
        assert (needed.channels, needed.side, needed.classes) == ((3,), (), (20,))


@pytest.mark.parametrize(
    ("name", "content", "kind", "said"),
    [
        ("net.pt", b"text", "victim", "net.pt cannot be read as weights"),
        ("my net.pt", b"", "victim", "its name has more than letters"),
        (None, b"", "victim", "is no file"),
        ("net.pt", b"text", "attack", "weights for kind attack"),
    ],
)
def test_a_wrong_file_leaves_no_folder(tmp_path, name, content, kind, said):
    path = tmp_path / (name or "absent.pt")
    if name:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        make(tmp_path, path, kind=kind)
    assert not (tmp_path / "victims").exists()
    assert not (tmp_path / "home").exists()


REAL = [
    (["kw_mnist.pth"], "kw_mnist", 9820),
    (["sdp_mnist_cnn_a_adv.pth"], "sdp_mnist_cnn_a_adv", 9633),
    ([f"mip_rsl18a_{part}.npy" for part in ("B1", "B2", "W1", "W2")], "mip_rsl18a", 9582),
]


@pytest.mark.slow
@pytest.mark.parametrize(("files", "name", "right"), REAL)
def test_released_networks_are_right_as_often_as_published(tmp_path, files, name, right):
    """Clean errors of 180, 367 and 418 of 10,000 MNIST digits, from their publications."""
    folder = shared("verified")
    module, _ = make(tmp_path, *(folder / file for file in files))
    x, y = idx_images("mnist")
    network = loaded(module, tmp_path, name)
    with torch.no_grad():
        found = torch.cat([network(part).argmax(1) for part in x.split(1000)])
    assert int((found == y).sum()) == right
