"""The defence whose networks draw a label, and its files."""

from harness.runtime.contracts import Spec
from tests.support.modules import module
from tests.support.modules import part as module_part

NAME = "label-representation"
DIGITS = Spec("classification", 10, (1, 8, 8), classes=tuple("0123456789"))


def defense(variant=None, files=None, **params):
    if variant in ("speech", "shuffle", "bert", "glove"):
        variant, params = None, params | {"label": variant}
    made = module("defense", NAME, variant, **params)
    made.files = files
    return made


def part(name):
    """A file of the module, beside the one of its class."""
    return module_part("defense", NAME, name)


def codebook(variant=None, spec=DIGITS, **params):
    return defense(variant, **params).codebook(spec)
