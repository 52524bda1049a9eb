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
