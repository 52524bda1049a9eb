"""What attacks that look for the nearest wrong input are compared on, and with."""

import importlib
import os
import sys
import warnings
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from harness.runtime.model import freeze

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox's zoo, unused, would want a git
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of scipy.ndimage.filters
    import foolbox as foolbox


@cache
def digits():
    """A small trained network, 200 pictures of digits that it was not trained on, their labels."""
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(network(x[:1000]), y[:1000]).backward()
        optimizer.step()
    return freeze(network), x[1000:1200], y[1000:1200]


def adv_lib(file):
    """A file of the library's attacks; it draws no curves here, so that visdom is not installed."""
    if "visdom" not in sys.modules:
        sys.modules["visdom"] = ModuleType("visdom")
        sys.modules["visdom"].Visdom = object
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of distutils
        return importlib.import_module(f"adv_lib.attacks.{file}")
