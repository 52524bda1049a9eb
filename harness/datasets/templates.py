"""Templates of paths: ``{split}/{class}/{name}.png`` as a pattern of names below a source."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from harness.config.dataset_fields import Layout
from harness.datasets.pictures.formats import FORMATS

ENDINGS = tuple(end for row in FORMATS.values() for end in row.suffixes)
"""Endings of picture files."""

_FIELD = re.compile(r"\{([A-Za-z_]*)\}")


@dataclass(frozen=True)
class Match:
    """Name that fits a template.

    Attributes:
        name: below the source, without a folder of ``below``.
        fields: field → its text.
    """

    name: str
    fields: dict[str, str]


class Templates:
    """Templates of one layout; a name is what the first that fits says.

    Args:
        templates: the templates.
        layout: what the source calls splits, and the folders around everything.
        endings: endings that a template without one takes; empty: as it says.
    """

    def __init__(
        self, templates: Iterable[str], layout: Layout, endings: Collection[str] = ENDINGS
    ) -> None:
        texts = list(templates)
        self._patterns = [re.compile(_pattern(text, layout, endings), re.I) for text in texts]
        self._folders = [
            [re.compile(_pattern(one, layout, ()), re.I) for one in text.split("/")[:-1]]
            for text in texts
        ]
        ignored = [_pattern(text, layout, endings) for text in layout.ignore]
        self._ignored = re.compile("|".join(ignored), re.I) if ignored else None
        around = "|".join(re.escape(folder) for folder in layout.below)
        self._around = re.compile(f"(?:{around})/", re.I) if around else None

    def strip(self, name: str) -> str:
        """Return a name below the source without the folders around everything."""
        while self._around is not None and (match := self._around.match(name)):
            name = name[match.end() :]
        return name

    def reaches(self, folder: str) -> bool:
        """Return whether a template may name something in a folder below the source."""
        rest = self.strip(f"{folder}/").rstrip("/")
        parts = rest.split("/") if rest else []
        return any(
            len(parts) <= len(known)
            and all(one.fullmatch(part) for one, part in zip(known, parts, strict=False))
            for known in self._folders
        )

    def ignores(self, name: str) -> bool:
        """Return whether a name is that of a picture which is known to be no example."""
        return self._ignored is not None and bool(self._ignored.fullmatch(self.strip(name)))

    def match(self, name: str) -> Match | None:
        """Return what a name below the source says; ``None`` if it fits no template."""
        name = self.strip(name)
        for pattern in self._patterns:
            if found := pattern.fullmatch(name):
                return Match(name, dict(found.groupdict()))
        return None


def _pattern(template: str, layout: Layout, endings: Collection[str]) -> str:
    """Return a template as a regular expression; ``split`` takes the layout's words alone."""
    words = [word for part in layout.part_names().values() for word in part]
    seen: set[str] = set()

    def field(name: str) -> str:
        if name and name in seen:
            return f"(?P={name})"
        seen.add(name)
        kind = "|".join(map(re.escape, words)) if name == "split" else "[^/]+"
        return f"(?P<{name}>{kind})" if name else "[^/]+"

    def piece(name: str) -> str:
        parts = enumerate(_FIELD.split(name))
        return "".join(field(text) if place % 2 else re.escape(text) for place, text in parts)

    ending = f"(?:{'|'.join(map(re.escape, endings))})" if template.endswith("}") else ""
    names = [piece(name) for name in template.split("/")]
    names[-1] += ending
    # each name by itself: one that fits in many ways is not tried again for the sake of the next
    return "/".join(rf"(?>{name}(?=/|\Z))" for name in names)
