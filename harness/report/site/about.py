"""What a matrix is about: the facts above the first number of its page, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.config.budget import NORMS
from harness.config.matrix_entries import ITSELF
from harness.config.threat import ThreatModel
from harness.report.cells import CellRow
from harness.report.ranking_rules import target_words
from harness.report.site import format
from harness.report.tables import Table
from harness.results.goals import holds_public

QUESTION = (
    "Which attack breaks which defence, and what is left of a defence when every attack has been "
    "tried?"
)
"""What the whole site asks, as the README does."""

NOT_TOLD = (
    "A score is no proof that a defence is safe: an attack that nobody tried is not in it. Figures "
    "of different threat models, data sets or budgets are not to be compared, and self-reported "
    "ones are as good as whoever ran them."
)
"""What no figure of the site says, as the README puts it."""


@dataclass(frozen=True)
class Heading:
    """Words of a benchmark or a matrix about itself, from its ``benchmark.yaml``.

    Attributes:
        title: name for people.
        question: what it asks, or empty.
        out_of_scope: what its figures say nothing about, or empty.
        summary: one sentence, or empty.
        data: role → name of the data set; empty for a benchmark.
        training: data set and how many of its training examples are used, where not all are.
        examples: number of training examples of a matrix that is one of several which differ in
            it alone; ``None`` for others.
    """

    title: str
    question: str = ""
    out_of_scope: str = ""
    summary: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    training: str = ""
    examples: int | None = None


@dataclass(frozen=True)
class DataCard:
    """What pages say of a data set.

    Attributes:
        title: name for people.
        license: its license.
        source: where it comes from.
        test: number of test examples.
        outputs: number of classes, attributes or dimensions.
        shape: shape of one input.
        task: classification, ranking or segmentation.
        note: what is to be said beside results on this copy, such as pictures that are in
            training and test; or empty.
        train: number of training examples.
    """

    title: str
    license: str
    source: str
    test: int
    outputs: int
    shape: tuple[int, ...]
    task: str
    note: str = ""
    train: int = 0


@dataclass(frozen=True)
class Fact:
    """A term and what is to be said about it.

    Attributes:
        term: the term.
        text: sentences.
        warn: whether the reader should beware.
    """

    term: str
    text: str
    warn: bool = False


def facts(
    threat: ThreatModel,
    heading: Heading,
    benchmark: Heading,
    tables: Sequence[Table],
    ran: Sequence[CellRow],
    cards: Mapping[str, DataCard],
    victims: Mapping[str, str],
    families: Mapping[str, tuple[str, ...]],
) -> tuple[Fact, ...]:
    """Return the facts of a matrix, in the order of the page.

    Args:
        threat: its threat model.
        heading: its words about itself.
        benchmark: those of its benchmark.
        tables: its tables, of which the first has the first budget and victim.
        ran: its cells that have a record.
        cards: name of a data set → what pages say of it.
        victims: label of a victim → its summary.
        families: label of an attack → its families.
    """
    scope = " ".join(text for text in (benchmark.out_of_scope, heading.out_of_scope) if text)
    target = tables[0].headline.target
    aim = f" Target: {target}." if target else ""
    data = heading.data or recorded_data(ran)
    found = [
        Fact("Data", _data(data, tables[0], cards)),
        Fact("Training examples used", heading.training),
        Fact("This copy of the data", _copies(data, cards), warn=True),
        Fact("Network", _victims(tables, victims)),
        Fact("Public network", _public_weights(threat, ran)),
        Fact("Attacker", f"{threat.sentence} Limit: {_budgets(tables, heading, cards)}.{aim}"),
        Fact("How hard it was tried", tried(tables[0], families)),
        who_ran(ran),
        Fact("What this is not", scope),
    ]
    return tuple(fact for fact in found if fact.text)


def brief(
    table: Table,
    data: Mapping[str, str],
    cards: Mapping[str, DataCard],
    families: Mapping[str, tuple[str, ...]],
) -> str:
    """Return data, size and effort of a matrix in one line, for the overview."""
    name = data.get("student", "")
    card = cards.get(name)
    parts = [card.title if card else name]
    parts += [input_words(card)] if card else []
    if table.examples:
        parts.append(f"{table.examples:,} test {table.headline.things}")
    parts.append(attack_count(table, families))
    return " · ".join(part for part in parts if part)


def attack_count(
    table: Table, families: Mapping[str, tuple[str, ...]], *, named: bool = False
) -> str:
    """Return how many attacks of how many families and how many controls a table has.

    Args:
        table: the table.
        families: label of an attack → its families.
        named: whether the families are named.
    """
    own = [row for row in table.attacks if not (row.derived or row.made_against)]
    controls = sum(row.is_control for row in own)
    text = _count(len(own) - controls, "attack", "attacks")
    attacks = [row.attack for row in own if not row.is_control]
    found = list(dict.fromkeys(name for attack in attacks for name in families.get(attack, ())))
    if found:
        text += f" of {_count(len(found), 'family', 'families')}"
        text += f" ({', '.join(found)})" if named else ""
    return f"{text}, {_count(controls, 'control', 'controls')}"


def recorded_data(ran: Iterable[CellRow]) -> Mapping[str, str]:
    """Return role → data set of the first record, or nothing."""
    return next((row.record.cell.data for row in ran if row.record), {})


def _data(data: Mapping[str, str], table: Table, cards: Mapping[str, DataCard]) -> str:
    name = data.get("student", "")
    card = cards.get(name)
    judged = f"{table.examples:,}" if table.examples else ""
    things = table.headline.things
    if card is None:
        return f"{name}, {judged} test {things} judged." if name and judged else name
    count = f"{judged} of {card.test:,} test {things} judged" if judged else f"{card.test:,} test"
    parts = [f"{card.title}: {count}", input_words(card)]
    parts += [f"{card.outputs} classes"] if card.task != "ranking" else []
    text = f"{', '.join(parts)}. License: {_plain(card.license)}. Source: {_plain(card.source)}."
    for role, other in data.items():
        if role != "student" and other in cards:
            text += f" The {role} data: {cards[other].title}."
    return text


def _public_weights(threat: ThreatModel, ran: Iterable[CellRow]) -> str:
    """Return what the public network is where it comes without public data; else nothing."""
    cell = next((row.record.cell for row in ran if row.record), None)
    if cell is None or "public" in cell.data:
        return ""
    if not (threat.delivers or holds_public(cell)):
        return ""
    return "Existing weights, from which training starts with a new last layer."


def _plain(text: str) -> str:
    """Return a text without the scheme of addresses: pages lead nowhere else."""
    return text.replace("https://", "").replace("http://", "").rstrip(".")


def _copies(data: Mapping[str, str], cards: Mapping[str, DataCard]) -> str:
    """Return the notes on the copies of a matrix's data; a set in two roles is noted once."""
    notes = {name: cards[name].note for name in data.values() if name in cards}
    return " ".join(f"{cards[name].title}: {_plain(note)}." for name, note in notes.items() if note)


def input_words(card: DataCard) -> str:
    r"""Return the shape of an input in words.

    >>> input_words(DataCard("", "", "", 1, 10, (1, 8, 8), "classification"))
    '8\xa0×\xa08 pixels, grey'
    """
    match card.shape:
        case (channels, height, width):
            return f"{width}\u00a0×\u00a0{height} pixels, {'grey' if channels == 1 else 'colour'}"
        case (features,):
            return f"{features:,} features"
        case _:
            return "items known by number, without pictures"


def _victims(tables: Sequence[Table], summaries: Mapping[str, str]) -> str:
    """Return each victim in words, with its clean figure without a defence."""
    said = []
    for victim in dict.fromkeys(table.victim for table in tables):
        table = next(table for table in tables if table.victim == victim)
        rows = (*table.rows, *table.unranked)
        clean = next((row.clean for row in rows if row.is_control and row.clean), None)
        text = victim
        if victim in summaries:
            text += f": {summaries[victim].rstrip('.')}"
        if clean:
            value = format.percent(clean.value, format.decimals(n=table.examples))
            what = "mIoU" if table.task == "segmentation" else "right"
            text += f"; {value} % {what} on clean inputs without a defence"
        said.append(f"{text}.")
    return " ".join(said)


def _levels(*radii: float) -> str:
    levels = ", ".join(f"{round(255 * radius, 2):g}" for radius in radii)
    return f"at most {levels} of 255\u00a0levels"


def _radius(limits: Mapping[str, Any], what: str) -> str:
    """Return a budget's radius as people say it; units of channels are given in both units."""
    eps, units = limits["eps"], limits.get("per_channel")
    if limits.get("norm") != "linf":
        length = f"a change of Euclidean length at most {eps:g}"
        return f"{length}, where the range of one {what} is 1"
    if units is None:
        return f"each {what} by {_levels(eps)}"
    listed = ", ".join(f"{unit:g}" for unit in units)
    levels = _levels(*(eps * unit for unit in units))
    return f"each {what} by {eps:g} of its channel's unit ({listed}), that is {levels}"


_EDITS = {
    (True, False): "the labels of {share} of the training examples",
    (False, True): "the inputs of {share} of the training examples",
}

_LIMITS: tuple[tuple[str, Callable[[Mapping[str, Any], str], str]], ...] = (
    ("unbounded", lambda b, what: "anything may change"),
    ("eps", _radius),
    ("minimal", lambda b, what: f"the nearest wrong input in {NORMS[b['norm']]} is looked for"),
    ("patch", lambda b, what: f"a square of {b['patch']} × {b['patch']} pixels, at will"),
    ("pixels", lambda b, what: f"pixels of a picture: at most {b['pixels']:,}, at will"),
    (
        "edits",
        lambda b, what: _EDITS.get(
            (bool(b.get("labels")), bool(b.get("features"))), "{share} of the training examples"
        ).format(share=f"{100 * b['edits']:.6g} %"),
    ),
    ("queries", lambda b, what: f"{b['queries']:,} queries for each input"),
    ("answers", lambda b, what: "answered by " + ("scores", "labels")[b["answers"] == "labels"]),
    ("target", lambda b, what: f"the target is {target_words(b['target'])}"),
)
"""THE table of budgets as people say them: field → words, given the budget and what is changed."""


def budget_words(limits: Mapping[str, Any], what: str = "pixel") -> str:
    r"""Return a budget as people say it.

    Args:
        limits: fields of the budget.
        what: one number of an input, such as ``pixel``.

    >>> budget_words({"norm": "linf", "eps": 32 / 255, "queries": 200})
    'each pixel by at most 32 of 255\xa0levels, 200 queries for each input'
    """
    return ", ".join(words(limits, what) for name, words in _LIMITS if limits.get(name) is not None)


def _budgets(tables: Sequence[Table], heading: Heading, cards: Mapping[str, DataCard]) -> str:
    card = cards.get(heading.data.get("student", ""))
    what = "feature" if card and len(card.shape) == 1 else "pixel"
    found = dict.fromkeys(budget_words(table.limits, what) for table in tables)
    return "; or ".join(found)


def tried(table: Table, families: Mapping[str, tuple[str, ...]]) -> str:
    """Return how many attacks of which families were made, and their passes for each example."""
    attacks = [
        row.attack
        for row in table.attacks
        if not (row.derived or row.made_against or row.is_control)
    ]
    text = attack_count(table, families, named=True)
    passes = {name: _passes(table, name) for name in attacks}
    known = {name: value for name, value in passes.items() if value}
    if known:
        least, most = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
        text += f"; for each example {format.count(known[most])} passes of the network ({most})"
        if known[least] < known[most]:
            text += f", at the least {format.count(known[least])} ({least})"
    if any(row.made_against not in (None, ITSELF) for row in table.attacks):
        text += "; also inputs made against other networks of the table"
    return text + "."


def _count(n: int, one: str, many: str) -> str:
    return f"{n or 'no'} {one if n == 1 else many}"


def _passes(table: Table, attack: str) -> float:
    """Return the passes for one example, forwards and backwards, mean over defences."""
    place = [row.attack for row in table.attacks].index(attack)
    costs = [row.cells[place].cost for row in (*table.rows, *table.unranked)]
    spent = [cost for cost in costs if cost]
    return sum(spent) / len(spent) / table.examples if spent and table.examples else 0.0


def who_ran(ran: Sequence[CellRow]) -> Fact:
    """Return who ran the cells, and where."""
    own = sum(row.self_reported for row in ran)
    made = own + sum(row.contained for row in ran)
    records = [row.record for row in ran if row.record]
    machines = dict.fromkeys(
        f"{record.run.machine}, {record.environment.device}" for record in records
    )
    where = f" Machine: {'; '.join(machines)}." if machines else ""
    if not own:
        return Fact("Who ran it", f"All {made:,} cells ran in containers.{where}" if made else "")
    some = f"All {own:,}" if own == made else f"{own:,} of {made:,}"
    text = (
        f"Self-reported. {some} cells ran outside containers, where a module could have read "
        f"what is withheld.{where}"
    )
    return Fact("Who ran it", text, warn=True)
