"""Names of defences in sentences: the label of the control must not be read as a word."""

from __future__ import annotations

import re
from collections.abc import Collection

UNDEFENDED = "the undefended network"


def in_prose(label: str, *, is_control: bool) -> str:
    """Return a defence as a sentence names it: "none keeps 20 %" would say the opposite.

    >>> in_prose("none", is_control=True), in_prose("jpeg", is_control=False)
    ('the undefended network', 'jpeg')
    """
    return UNDEFENDED if is_control else label


def attacks_in_prose(text: str, undefended: Collection[str]) -> str:
    """Return a text on attacks without the labels of borrowed inputs, such as ``pgd@none``.

    Args:
        text: the text.
        undefended: labels of the defences that are no defence.

    >>> attacks_in_prose("timeout on pgd@none", ["none"])
    'timeout on pgd made against the undefended network'
    """
    for label in undefended:
        text = re.sub(rf"@{re.escape(label)}(?![\w-])", f" made against {UNDEFENDED}", text)
    return text


def in_table(label: str, *, is_control: bool) -> str:
    """Return a defence as a heading or the cell of a table names it.

    >>> in_table("none", is_control=True)
    'none (no defence)'
    """
    return f"{label} (no defence)" if is_control else label
