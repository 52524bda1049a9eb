"""Exports of the tables as CSV and JSON: fractions with all digits, with counts and status."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.common.text import escape_json
from harness.report.cells import CellRow
from harness.report.site.amounts import Amounts
from harness.report.site.flips import Flips
from harness.report.site.format import spreadsheet
from harness.report.site.trainings import Training
from harness.report.site.views import CellPage, MatrixPage
from harness.report.tables import Row, Table
from harness.report.worst_case import Estimate
from harness.results.records import outcome_of, to_brief

_FIELDS = ("value", "lo", "hi", "level", "method", "k", "n", "sd", "seeds")


def ranking_csv(tables: Iterable[Table]) -> str:
    """Return a line for each defence, victim and budget."""
    rows = []
    for table in tables:
        for row in (*table.rows, *table.unranked):
            rows.append(
                {
                    "benchmark": table.benchmark,
                    "matrix": table.matrix,
                    "task": table.task,
                    "threat_model": table.threat_model,
                    "victim": table.victim,
                    "budget": table.budget,
                    "eps": table.eps,
                    "per_channel": _units(table.limits),
                    "goal": table.goal,
                    "defense": row.defense,
                    "status": "ranked" if row.rank else "not ranked",
                    "rank": row.rank,
                    "last_place": row.last,
                    "tied": row.tied,
                    "metric": table.headline.metric,
                    "rule": table.headline.rule,
                    "bound": row.bound,
                    **_estimate("score", row.score),
                    **_estimate("clean", row.clean),
                    **_estimate("control", row.control),
                    **_estimate("clean_form", row.clean_form),
                    "resists": 1 - row.score.value
                    if table.headline.targeted and row.score
                    else None,
                    **_estimate("untargeted", row.untargeted),
                    **_estimate("median_distance", row.distance),
                    "strongest": row.strongest,
                    "covered": row.covered,
                    "applicable": row.applicable,
                    "borrowed": row.borrowed,
                    "controls": row.controls,
                    "gaps": "; ".join(f"{gap.attack}: {gap.word}" for gap in row.gaps),
                    "blinded": row.blinded,
                    "signs": "; ".join(f"{sign.attack}: {sign.name}" for sign in row.signs),
                    "elsewhere": "; ".join(row.elsewhere),
                    "flags": "; ".join(f"{flag.attack}: {flag.name}" for flag in row.flags),
                    "caveats": "; ".join(f"{one.name}: {one.text}" for one in row.caveats),
                    "stale": row.stale,
                    "contained": row.contained,
                    "training_seconds": row.seconds,
                    "training_steps": row.steps,
                    **_released(row, table),
                    **_proven(row),
                    "certified_accuracy": row.certified,
                }
            )
    return table_csv(rows)


def attacks_csv(tables: Iterable[Table]) -> str:
    """Return a line for each attack, victim and budget: its places, its reach and its cost."""
    return table_csv(
        [
            {
                "benchmark": table.benchmark,
                "matrix": table.matrix,
                "victim": table.victim,
                "budget": table.budget,
                "attack": one.attack,
                "made_against": one.made_against,
                "control": one.is_control,
                "ensemble": one.derived,
                "rank": one.standing and one.standing.rank,
                "last_place": one.standing and one.standing.last,
                "reach": one.standing and one.standing.reach,
                "reach_at_cost": one.standing and one.standing.reach_at_cost,
                "passes": one.standing and one.standing.passes,
                "seconds": one.standing and one.standing.seconds,
                "only_it_breaks": one.only_it_breaks,
                "strongest_for": None if one.derived else one.strongest_for,
                "covered": one.covered,
                "applicable": one.applicable,
            }
            for table in tables
            for one in table.attacks
        ]
    )


def _released(row: Row, table: Table) -> dict[str, object]:
    """Return the columns of a released network: claims of the headline and of the clean figure."""
    weights = row.weights
    claims = {claim.metric: claim for claim in weights.claims} if weights else {}
    figures = {"claimed": table.headline.metric, "claimed_clean": table.headline.clean}
    return {
        "weights": weights and weights.name,
        "weights_license": weights and weights.license,
        "trained_on": weights and weights.trained_on,
    } | {
        f"{name}{suffix}": getattr(claims.get(metric), part, None)
        for name, metric in figures.items()
        for suffix, part in (("", "value"), ("_under", "under"), ("_source", "source"))
    }


def _proven(row: Row) -> dict[str, object]:
    """Return the columns of a proven bound, in images."""
    bound = row.proven.bound if row.proven else None
    return {
        "proven_at_least": bound and bound.at_least,
        "proven_at_most": bound and bound.at_most,
        "proven_of": bound and bound.of,
        "proven_left": row.proven and row.proven.left,
        "proven_gap": row.proven and row.proven.gap,
        "proven_source": bound and bound.source,
        "proven_unused": "; ".join(row.proven.unused) if row.proven else None,
    }


def _estimate(name: str, estimate: Estimate | None) -> dict[str, object]:
    return {
        name if part == "value" else f"{name}_{part}": getattr(estimate, part, None)
        for part in _FIELDS
    }


def cells_csv(lines: Iterable[CellRow]) -> str:
    """Return a line for each planned cell, with or without a result."""
    rows = []
    for line in lines:
        row: dict[str, object] = {
            "cell": line.cell_id,
            "key": line.key,
            "benchmark": line.benchmark,
            "matrix": line.matrix,
            "task": line.task,
            "threat_model": line.threat_model,
            "victim": line.victim,
            "defense": line.defense,
            "attack": line.attack,
            "made_against": line.made_against,
            "weights": line.weights and line.weights.name,
            "budget": line.budget,
            "eps": line.eps,
            "per_channel": _units(line.limits),
            "goal": line.goal,
            "seed": line.seed,
            "status": line.status,
            "by": line.by,
            "stage": line.stage,
            "reason": line.reason,
            "stale": line.stale,
            "executor": line.record.environment.executor if line.record else None,
            "contained": line.contained if line.record else None,
            "outcome": outcome_of(line.record) if line.record else None,
            "replications": str(line.replications) if line.replications else None,
            "check": line.check_state if line.record else None,
            "check_failures": "; ".join(
                f"{module}: {name}"
                for module, names in line.check_failures.items()
                for name in names
            ),
        }
        metrics = line.record.metrics if line.record else {}
        for name, metric in sorted(metrics.items()):
            row[name] = metric.value
            row |= {f"{name}_lo": metric.lo, f"{name}_hi": metric.hi}
            row |= {f"{name}_k": metric.k, f"{name}_n": metric.n}
            row[f"{name}_absent"] = metric.absent
        health = (line.record.health if line.record else None) or {}
        row |= {f"health_{name}": figure for name, figure in sorted(health.items())}
        sizes = (line.record.perturbation if line.record else None) or {}
        rows.append(row | {f"perturbation_{name}": size for name, size in sorted(sizes.items())})
    return table_csv(rows)


def _units(limits: Mapping[str, Any]) -> str | None:
    """Return the units of a budget's eps in each channel, if it has some."""
    units = limits.get("per_channel")
    return None if units is None else " ".join(map(str, units))


def classes_csv(cell: CellPage) -> str:
    """Return a line for each class and budget: clean and attacked IoU, means over seeds, share."""
    rows = []
    for section in cell.sections:
        if section.classes is None:
            continue
        for row in (*section.classes.rows, section.classes.mean):
            rows.append(
                {
                    "budget": section.table.budget,
                    "class": row.name,
                    "share": row.share,
                    **_estimate("clean_iou", row.clean),
                    **_estimate("iou", row.attacked),
                    "drop": row.drop,
                }
            )
    return table_csv(rows)


def moves_csv(cell: CellPage) -> str:
    """Return a line for each pair of classes: labelled pixels by clean and attacked prediction."""
    rows = []
    for section in cell.sections:
        if section.classes is None or section.classes.moves is None:
            continue
        counts, names = section.classes.moves, (*section.classes.names, "no class")
        for i, j in zip(*counts.nonzero(), strict=True):
            rows.append(
                {
                    "budget": section.table.budget,
                    "from": names[i],
                    "to": names[j],
                    "pixels": int(counts[i, j]),
                    "share_of_from": float(counts[i, j] / counts[i].sum()),
                }
            )
    return table_csv(rows)


def amounts_csv(page: MatrixPage, levels: Amounts) -> str:
    """Return a line for each amount of training data, victim and defence, also without a figure."""
    return table_csv(
        [
            {
                "benchmark": page.benchmark,
                "matrix": point.matrix,
                "train_examples": point.examples,
                "victim": point.victim,
                "defense": point.defense,
                "budget": levels.budget,
                "metric": point.metric,
                **_estimate("clean", point.clean),
            }
            for point in levels.points
        ]
    )


def flips_csv(sections: Iterable[Flips]) -> str:
    """Return a line for each attack, budget and bin of decision values, of the pictures' seed."""
    rows = []
    for flips in sections:
        for group in flips.rows:
            flip = group.flip
            counts = (flip.train, flip.edits, flip.wrong, flip.attacked)
            for i, (train, flipped, wrong, attacked) in enumerate(zip(*counts, strict=True)):
                rows.append(
                    {
                        "victim": flips.victim,
                        "defense": flips.defense,
                        "seed": flips.seed,
                        "budget": group.budget,
                        "attack": group.attack,
                        "from": float(flip.edges[i]),
                        "to": float(flip.edges[i + 1]),
                        "train": int(train),
                        "flipped": int(flipped),
                        "test_wrong_clean": int(wrong),
                        "test_attacked": int(attacked),
                    }
                )
    return table_csv(rows)


def overlaps_csv(sections: Iterable[Flips]) -> str:
    """Return a line with the Jaccard index of each pair of attacks, or of budgets of one attack."""
    return table_csv(
        [
            {
                "victim": flips.victim,
                "budget": pair.first[0],
                "attack": pair.first[1],
                "other_budget": pair.second[0],
                "other_attack": pair.second[1],
                "jaccard": pair.share,
            }
            for flips in sections
            for pair in flips.overlaps
        ]
    )


def curves_csv(page: MatrixPage, trained: Iterable[Training]) -> str:
    """Return a line for each point of the training curves that the pages draw, thinned alike.

    The value of a point that was not finite is empty.
    """
    return table_csv(
        [
            {
                "benchmark": page.benchmark,
                "matrix": page.matrix,
                "victim": one.victim,
                "row": one.defense,
                "attack": one.attack,
                "budget": one.budget,
                "seed": one.seed,
                "stage": one.role,
                "name": curve.name,
                "fit": curve.fit,
                "step": step,
                "value": value,
            }
            for one in trained
            for curve in one.curves
            for step, value in curve.points
        ]
    )


def table_csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows as CSV; columns in the order of their first use, text safe for spreadsheets."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([spreadsheet(name) for name in columns])
    writer.writerows([[_field(row.get(name)) for name in columns] for row in rows])
    return text.getvalue()


def _field(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return spreadsheet(value) if isinstance(value, str) else value


def results_json(tables: Sequence[Table]) -> str:
    """Return the tables as JSON."""
    return _json({"schema": "results/1", "tables": [asdict(table) for table in tables]})


def records_json(lines: Iterable[CellRow]) -> str:
    """Return the records of a cell page as JSON, in the brief form that ``reproduce`` reads."""
    return _json([to_brief(line.record) for line in lines if line.record], sort_keys=True)


def _json(value: object, *, sort_keys: bool = False) -> str:
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys
    )
    return escape_json(text) + "\n"
