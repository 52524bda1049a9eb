"""Outcome of a cell: what was judged, apart from where, when and by which code."""

from __future__ import annotations

from collections.abc import Mapping

from harness.common.keys import digest

OUTCOME = ("status", "metrics", "parts", "outcomes", "confusions", "flips", "queries")
"""Fields of a record that are its outcome: status, figures with their counts, and packed arrays.

Left out are reasons, which may name a time limit or an address, and what describes the way to the
outcome: sizes of the change, health of gradients, cost. Their last digits move with the rounding of
a processor, where no example is judged otherwise.
"""


def outcome_digest(fields: Mapping[str, object]) -> str:
    """Return the digest of what was judged: equal wherever and whenever the same came out.

    Args:
        fields: a record's JSON form, with or without ``outcome`` itself. A field that is ``None``
            equals one that a record from before the field lacks.
    """
    return digest({name: fields[name] for name in OUTCOME if fields.get(name) is not None})
