"""The static site: ``build(frame, out, meta)``. Views are data, templates only print them."""

from harness.report.site.render import build
from harness.report.site.views import SiteMeta

__all__ = ["SiteMeta", "build"]
