"""Builds the static site: views through templates into files, aside, then in one rename."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from harness.common.errors import UserError
from harness.config.threat import THREATS
from harness.judge.metrics import METRICS, Trait
from harness.report.cells import STATUSES, CellRow, Metric
from harness.report.ranking_rules import Headline, heat_class
from harness.report.site import class_plots, exports, flip_plots, format, frames, palette, views
from harness.report.site.gallery import Gallery, Loader
from harness.report.site.provenance import provenance
from harness.report.site.views import MatrixPage, SiteMeta
from harness.report.tables import Table
from harness.report.worst_case import Estimate

_HERE = Path(__file__).parent
_STATIC = ("site.css", "figures.css", "site.js")


def build(
    frame: pd.DataFrame, out: Path, meta: SiteMeta | None = None, load: Loader | None = None
) -> Path:
    """Write the site of a frame; an unchanged frame gives identical bytes.

    Args:
        frame: see ``harness.report.frame``.
        out: the site's folder; an older site there is replaced, nothing else ever is.
        meta: what is in no record.
        load: reads the pictures of a segmentation cell, which no record holds. Those that the older
            site has are taken over.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``out`` holds something that is no site.
    """
    if out.exists() and not ((out / "site.css").is_file() or _is_empty(out)):
        raise UserError(str(out), "not empty, and not a site of ours", "name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        gallery = Gallery(load or (lambda record: None), out, aside / "new")
        pages = views.pages(frame, meta or SiteMeta())
        _write(aside / "new", pages, meta or SiteMeta(), gallery)
        if out.exists():
            out.rename(aside / "old")
        (aside / "new").rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out / "index.html"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _write(out: Path, pages: Sequence[MatrixPage], meta: SiteMeta, gallery: Gallery) -> None:
    environment = _environment(meta)
    out.mkdir()
    for name in _STATIC:
        shutil.copyfile(_HERE / "static" / name, out / name)
    page = partial(_render, environment, out)
    benchmarks: dict[str, list[MatrixPage]] = {}
    measured = {one.benchmark for one in pages if one.measured}
    for one in sorted(pages, key=lambda page: page.benchmark not in measured):
        benchmarks.setdefault(one.benchmark, []).append(one)
    threats = [t for t in THREATS.values() if any(one.threat is t for one in pages)]
    page("index.html", "overview", benchmarks=benchmarks, threats=threats)
    for one in pages:
        siblings = benchmarks[one.benchmark]
        page(f"{one.path}/index.html", "benchmark", page=one, siblings=siblings)
        tables = [board.table for board in one.boards]
        _save(out / one.path / "ranking.csv", exports.ranking_csv(tables))
        _save(out / one.path / "cells.csv", exports.cells_csv(one.planned))
        _save(out / one.path / "results.json", exports.results_json(tables))
        if one.flips:
            _save(out / one.path / "flips.csv", exports.flips_csv(one.flips))
            _save(out / one.path / "overlaps.csv", exports.overlaps_csv(one.flips))
        for cell in views.cell_pages(one):
            shots = {section.anchor: gallery.of(section.lines) for section in cell.sections}
            page(f"{one.path}/{cell.path}", "cell", cell=cell, page=one, shots=shots)
            told = [line for section in cell.sections for line in section.lines]
            path = out / one.path / cell.path
            _save(path.with_name(f"{path.stem}.records.json"), exports.records_json(told))
            if cell.has_classes:
                _save(path.with_name(f"{path.stem}.classes.csv"), exports.classes_csv(cell))
            if cell.has_moves:
                _save(path.with_name(f"{path.stem}.moves.csv"), exports.moves_csv(cell))


def _render(
    environment: jinja2.Environment, out: Path, path: str, template: str, **values: object
) -> None:
    root = "../" * path.count("/")
    text = environment.get_template(f"{template}.html.j2").render(root=root, **values)
    _save(out / path, text)


def _save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lone surrogate in a submitter's text must not stop the whole site.
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def _environment(meta: SiteMeta) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=format.finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in (
        "anchor", "breakable", "count", "date", "decibels", "duration", "inside", "number",
        "percent", "points", "radius", "ratio", "sentence", "similarity", "size", "slug",
    ):  # fmt: skip
        environment.filters[name] = getattr(format, name)
    environment.filters |= {
        "rate": rate,
        "range": between,
        "figure": figure,
        "bar": class_plots.bar,
        "css": css_class,
        "shell": shlex.quote,
    }
    environment.globals |= {
        "meta": meta,
        "statuses": STATUSES,
        "metrics": METRICS,
        "cell_path": views.cell_path,
        "class_colour": palette.colour,
        "columns": frames.COLUMNS,
        "palette": palette,
        "steps": class_plots.STEPS,
        "flip_plots": flip_plots,
        "heat_class": heat_class,
        "provenance": provenance,
        "metric_rows": metric_rows,
        "places": places,
        "ramp": ramp,
    }
    return environment


def places(table: Table) -> int:
    """Decimals of a table's rates: the same for all, so that they stand under each other."""
    return format.decimals(n=table.examples)


def rate(estimate: Estimate, table: Table) -> str:
    """A rate's value in per cent."""
    return format.percent(estimate.value, places(table))


def between(estimate: Estimate, table: Table) -> str:
    """A rate's interval in per cent."""
    if estimate.lo is None or estimate.hi is None:
        return "no interval"
    return format.interval(estimate.lo, estimate.hi, places(table))


def ramp(headline: Headline, task: str, heat: int) -> str:
    """The lower end of a heat class, as the cells print it (mIoU: in per cent of the clean one)."""
    if not headline.higher_is_better:
        return str(10 * heat)
    return str(100 - (5 if task == "ranking" else 10) * (heat + 1))


def css_class(word: str) -> str:
    """A status as a class name."""
    return STATUSES[word].word.replace("/", "").replace(" ", "-") if word in STATUSES else "other"


def figure(metric: Metric, trait: Trait | None) -> Markup | str:
    """One recorded metric with its interval and counts, in its unit."""
    value, k, n = metric.value, metric.k, metric.n
    if value is None:
        return f"absent: {metric.absent or 'no reason given'}"
    ends = [float(end) for end in (metric.lo, metric.hi) if end is not None]
    if trait is None or trait.unit == "":
        shown = format.number(value)
        span = "–".join(format.number(end) for end in ends)
    else:
        to_text = format.points if trait.unit == "points" else format.percent
        fine = format.decimals(n=n)
        shown = to_text(float(value), fine)
        span = (" to " if trait.unit == "points" else "–").join(to_text(e, fine) for e in ends)
    counts = f"{format.number(k)} of {format.number(n)}" if n and k is not None else ""
    note = " · ".join(part for part in (span, counts) if part)
    # Numbers only, and 140,000 of them on a large site: ``Markup.format`` would take seconds.
    return Markup(f"{shown}<small>{note}</small>")  # noqa: S704


@dataclass(frozen=True)
class MetricRow:
    """One metric of a budget's seeds, printed: one text a line."""

    name: str
    trait: Trait | None
    figures: tuple[Markup | str, ...]


def metric_rows(lines: Sequence[CellRow]) -> list[MetricRow]:
    """Every metric of some records, in the traits' order; a line without a record says so."""
    held = [line.record.metrics if line.record else {} for line in lines]
    present = {name for metrics in held for name in metrics}
    order = [name for name in METRICS if name in present]
    empty = Metric(absent="no record")
    return [
        MetricRow(
            name,
            METRICS.get(name),
            tuple(figure(metrics.get(name, empty), METRICS.get(name)) for metrics in held),
        )
        for name in [*order, *sorted(present - set(order))]
    ]
