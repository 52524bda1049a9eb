"""Build of the static site: views are rendered into a new folder, which then replaces the old."""

from __future__ import annotations

import math
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
from harness.config.budget import NORMS
from harness.config.threat import THREATS
from harness.judge.metrics import METRICS, Trait
from harness.report.blinding import SIGNS
from harness.report.caveats import CAVEATS
from harness.report.cells import STATUSES, CellRow, Metric
from harness.report.flag_kinds import FLAG_KINDS
from harness.report.names import attacks_in_prose, in_prose, in_table
from harness.report.ranking_rules import Headline, heat_class
from harness.report.site import (
    about,
    albums,
    attention,
    class_plots,
    exports,
    findings,
    flip_plots,
    format,
    frames,
    palette,
    training_rows,
    trainings,
    views,
)
from harness.report.site.gallery import Gallery, Loader
from harness.report.site.provenance import provenance, redo, replicated
from harness.report.site.releases import release_facts, release_lines
from harness.report.site.training_plots import Chart
from harness.report.site.views import MatrixPage, SiteMeta
from harness.report.tables import AttackRow, Table
from harness.report.worst_case import Estimate

_HERE = Path(__file__).parent
_STATIC = ("site.css", "figures.css", "site.js")


def build(
    frame: pd.DataFrame,
    out: Path,
    meta: SiteMeta | None = None,
    load: Loader | None = None,
    load_attention: albums.Loader | None = None,
    load_curves: trainings.Loader = trainings.no_curves,
) -> Path:
    """Write the site of a frame; an unchanged frame gives identical bytes.

    Args:
        frame: see ``harness.report.frame``.
        out: the site's folder; an older site there is replaced, other files never are.
        meta: content that is in no record.
        load: reads the pictures of a segmentation cell, which no record holds. Pictures of the
            older site are copied.
        load_attention: reads the first examples of a cell with its attention maps; likewise.
        load_curves: reads the training curves of a stage; without its artefact there are none.

    Returns:
        The path of ``index.html``.

    Raises:
        UserError: ``out`` holds something that is no site.
    """
    if out.exists() and not ((out / "site.css").is_file() or _is_empty(out)):
        raise UserError(str(out), "not empty, and not a Gauntlet site", "name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        gallery = Gallery(load or (lambda record: None), out, aside / "new")
        looks = albums.Albums(load_attention or (lambda record: None), out, aside / "new")
        pages = views.pages(frame, meta or SiteMeta())
        _write(aside / "new", pages, meta or SiteMeta(), gallery, looks, load_curves)
        if out.exists():
            out.rename(aside / "old")
        (aside / "new").rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return out / "index.html"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _save_data(folder: Path, page: MatrixPage, load_curves: trainings.Loader) -> None:
    """Write the figures of a matrix's page as files beside it."""
    tables = [board.table for board in page.boards]
    _save(folder / "ranking.csv", exports.ranking_csv(tables))
    _save(folder / "attacks.csv", exports.attacks_csv(tables))
    _save(folder / "cells.csv", exports.cells_csv(page.planned))
    _save(folder / "results.json", exports.results_json(tables))
    if page.amounts:
        _save(folder / "amounts.csv", exports.amounts_csv(page, page.amounts))
    if page.flips:
        _save(folder / "flips.csv", exports.flips_csv(page.flips))
        _save(folder / "overlaps.csv", exports.overlaps_csv(page.flips))
    trained = trainings.row_trainings(page.planned, load_curves)
    if trained:
        _save(folder / "curves.csv", exports.curves_csv(page, trained))


def _write(
    out: Path,
    pages: Sequence[MatrixPage],
    meta: SiteMeta,
    gallery: Gallery,
    looks: albums.Albums,
    load_curves: trainings.Loader,
) -> None:
    environment = _environment(meta)
    out.mkdir()
    for name in _STATIC:
        shutil.copyfile(_HERE / "static" / name, out / name)
    write = partial(_render, environment, out)
    benchmarks: dict[str, list[MatrixPage]] = {}
    for page in pages:
        benchmarks.setdefault(page.benchmark, []).append(page)
    threats = [t for t in THREATS.values() if any(page.threat is t for page in pages)]
    idle = {name: found for name, found in benchmarks.items() if all(p.empty for p in found)}
    begun = {name: found for name, found in benchmarks.items() if name not in idle}
    write("index.html", "overview", benchmarks=begun, idle=idle, threats=threats)
    for page in pages:
        siblings = benchmarks[page.benchmark]
        write(
            f"{page.path}/index.html",
            "benchmark",
            page=page,
            siblings=siblings,
            albums={one.key: looks.of(one) for one in page.attention},
            trainings=training_rows.row_charts(page.planned, page.victims, load_curves),
        )
        if page.samples:
            page.samples.save(out)
        _save_data(out / page.path, page, load_curves)
        drawn: dict[trainings.Keys, tuple[Chart, ...]] = {}
        for cell in views.cell_pages(page):
            budgets = {section.table.budget: section.lines for section in cell.sections}
            cell_lines = [line for lines in budgets.values() for line in lines]
            write(
                f"{page.path}/{cell.path}",
                "cell",
                cell=cell,
                page=page,
                shots={section.anchor: gallery.of(section.lines) for section in cell.sections},
                trainings=trainings.cell_trainings(budgets, load_curves, drawn),
                untraced=trainings.is_without_artefacts(cell_lines, load_curves),
            )
            path = out / page.path / cell.path
            _save(path.with_name(f"{path.stem}.records.json"), exports.records_json(cell_lines))
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
        "resists": resists,
        "distance": distance,
        "distance_range": distance_range,
        "norm_name": NORMS.__getitem__,
        "by_place": by_place,
        "release_lines": release_lines,
        "release_facts": release_facts,
        "figure": figure,
        "beside_success": beside_success,
        "bar": class_plots.bar,
        "css": css_class,
        "shell": shlex.quote,
    }
    environment.globals |= {
        "meta": meta,
        "statuses": STATUSES,
        "signs": SIGNS,
        "kinds": FLAG_KINDS,
        "caveats": CAVEATS,
        "metrics": METRICS,
        "attention": attention,
        "cell_path": views.cell_path,
        "class_colour": palette.colour,
        "columns": frames.COLUMNS,
        "palette": palette,
        "steps": class_plots.STEPS,
        "flip_plots": flip_plots,
        "heat_class": heat_class,
        "provenance": provenance,
        "defence_in_prose": lambda label, page: in_prose(
            label, is_control=label in page.undefended
        ),
        "defence_in_table": lambda label, page: in_table(
            label, is_control=label in page.undefended
        ),
        "attacks_in_prose": lambda text, page: attacks_in_prose(text, page.undefended),
        "first_place": findings.first_place,
        "metric_rows": metric_rows,
        "not_told": about.NOT_TOLD,
        "question": about.QUESTION,
        "worst_case": findings.WORST_CASE,
        "places": places,
        "ramp": ramp,
        "redo": redo,
        "replicated": replicated,
    }
    return environment


def places(table: Table) -> int:
    """Return the decimals of a table's rates, the same for all so that they align."""
    pixels = table.headline.rule == "images"  # counts pixels, of which there are many
    return format.decimals(n=None if pixels else table.examples)


def rate(estimate: Estimate, table: Table) -> str:
    """Return a rate's value in per cent."""
    return format.percent(estimate.value, places(table))


def resists(estimate: Estimate, table: Table, bound: str = "") -> str:
    """Return the complement of a success rate in per cent; of a lower bound, an upper one."""
    mark = {"lower": "≤ ", "upper": "≥ "}.get(bound, "")
    return mark + format.percent(1 - estimate.value, places(table))


def between(estimate: Estimate, table: Table) -> str:
    """Return a rate's interval in per cent."""
    if estimate.lo is None or estimate.hi is None:
        return "no interval"
    return format.interval(estimate.lo, estimate.hi, places(table))


def distance(estimate: Estimate, table: Table) -> str:
    """Return a distance in the norm of a table's budget."""
    return format.distance(estimate.value, table.limits["norm"])


def distance_range(estimate: Estimate, table: Table) -> str:
    """Return the interval of a distance."""
    found = format.distance_interval(estimate.lo, estimate.hi, table.limits["norm"])
    return found or "no interval"


def by_place(attacks: Sequence[AttackRow]) -> list[AttackRow]:
    """Return attacks by their places; those that are not ranked follow, the strongest first."""

    def order(row: AttackRow) -> tuple[float, ...]:
        place = row.standing
        ranked = (place.rank, place.last, -place.reach) if place else (math.inf, 0, 0)
        return (*ranked, -row.strongest_for)

    return sorted(attacks, key=order)


def ramp(headline: Headline, task: str, heat: int) -> str:
    """Return the lower end of a heat class in per cent (for mIoU, of the clean mIoU)."""
    if not headline.higher_is_better:
        return str(10 * heat)
    return str(100 - (5 if task == "ranking" else 10) * (heat + 1))


def css_class(word: str) -> str:
    """Return the CSS class of a status."""
    return STATUSES[word].word.replace("/", "").replace(" ", "-") if word in STATUSES else "other"


def figure(metric: Metric, trait: Trait | None) -> Markup | str:
    """Return a recorded metric with its interval and counts, in its unit."""
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


COMPARED = ("control_", "clean_form_", "target_rate", "teacher_")
"""Beginnings of the names of what an attack's success is read against."""


@dataclass(frozen=True)
class MetricRow:
    """One metric of a budget's seeds.

    Attributes:
        name: key of the metric.
        trait: its traits, ``None`` for an unknown metric.
        figures: one text a seed.
    """

    name: str
    trait: Trait | None
    figures: tuple[Markup | str, ...]


def beside_success(rows: Sequence[MetricRow]) -> list[MetricRow]:
    """Return what an attack's success is read against; empty where there is nothing to compare."""
    compared = any(row.name.startswith(COMPARED) for row in rows)
    kinds = (*COMPARED, "attack_success_rate", "untargeted_success_rate")
    return [row for row in rows if compared and row.name.startswith(kinds)]


def metric_rows(lines: Sequence[CellRow]) -> list[MetricRow]:
    """Return every metric of some records, in the traits' order; absent without a record."""
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
