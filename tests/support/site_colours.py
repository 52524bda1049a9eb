"""Colours of the site's style sheet, and their contrast as WCAG computes it."""

import re
from pathlib import Path

from harness.report.site import render


def css():
    return (Path(render.__file__).parent / "static/site.css").read_text()


def token(name: str, dark: bool) -> str:
    pair = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", css())
    return pair[2 if dark else 1]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
