"""Pages of a built site, read back for tests."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """Links and ids of a page, and content that its security policy refuses."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.refused: list[str] = []
        self.scripts = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src") if name in values]
        self.refused += [name for name in values if name == "style" or name.startswith("on")]
        self.refused += [tag] if tag == "style" or (tag == "script" and "src" not in values) else []
        self.scripts += tag == "script"


def html_of(site):
    return sorted(site.rglob("*.html"))


class _Prose(HTMLParser):
    """Text of a page, with a mark on what is no prose: code, figures, cells of tables."""

    APART = frozenset({"script", "style", "code", "svg", "title", "td", "th"})
    INLINE = frozenset({"a", "b", "i", "span"})
    EMPTY = frozenset({"br", "img", "input", "link", "meta", "wbr"})

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.parts: list[tuple[bool, str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass
        if tag not in self.INLINE:
            self.parts.append((True, " "))

    def handle_data(self, data):
        self.parts.append((self.APART.isdisjoint(self.open), data))


def text_of(page: str) -> str:
    """Return the text of a page or a part of one, with single spaces."""
    return " ".join("".join(text for _, text in _Prose(page).parts).split())


def prose_of(page: str) -> str:
    """Return the text outside tables, figures and code."""
    return " ".join("".join(text for prose, text in _Prose(page).parts if prose).split())
