"""The numbers of a report: main findings, scores, the table by lobe, remarks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from CovidLesionSegLib.engine.flags import is_own_sentence, warnings_for
from CovidLesionSegLib.engine.result import LobeSource, Measure, Quantification, RegionRow

from .job import ExportJob, without_name
from .lobe_chart import approximate_mark, format_interval, format_percent, format_volume
from .report_model import Block, Bullets, Paragraph, Section, Table, TableColumn
from .tables import measure_title

ABSENT = "n/a"

COLUMN_TITLES = {
    "volume_ml": "Volume [ml]",
    "infected_ml": "Infected [ml]",
    "infected_percent": "Infected [%]",
    "ggo_percent": "Ground-glass [%]",
    "consolidation_percent": "Consolidation [%]",
    "lesion_count": "Lesions",
    "involvement_score": "Score 0 to 5",
}
"""Columns of the table by lobe; a definition names them so, too."""

_INTERVAL = "interval"
_LOBE_COLUMNS = (
    ("volume_ml", 1.0),
    ("infected_ml", 1.1),
    ("infected_percent", 1.1),
    (_INTERVAL, 1.25),
    ("ggo_percent", 1.0),
    ("consolidation_percent", 1.1),
    ("lesion_count", 1.0),
    ("involvement_score", 1.0),
)
"""Measures in the order of the columns, with their relative widths."""
_SHARES = (("ground-glass", "ggo_percent"), ("consolidation", "consolidation_percent"))
_GROUP_STARTS = ("LUL", "right-lung")
_ALSO_ELSEWHERE = ("po_percent",)
"""Scores that repeat a number which stands in the first line."""


def finding_section(job: ExportJob) -> Section:
    """Return the main numbers, what to know about them, and the scores with definitions."""
    table = job.result.quantification
    total = table.row("total").measures
    blocks: list[Block] = [Paragraph(_headline(job), "lead")]
    infected, volume = total["infected_ml"].value, total["volume_ml"].value
    if infected is not None and volume is not None:
        count = len(job.result.lesions)
        lesions = "1 lesion" if count == 1 else f"{count} lesions"
        shares = [
            f"{name} {format_percent(share.value)} %"
            for name, key in _SHARES
            if (share := total.get(key)) is not None and share.value is not None
        ]
        parts = [f"{format_volume(infected)} ml of {format_volume(volume)} ml lung, {lesions}"]
        if infected > 0 and shares:
            parts.append("of the lungs: " + ", ".join(shares))
        blocks.append(Paragraph("; ".join(parts) + "."))
    remarks = _remarks(job)
    if remarks:
        blocks.append(Bullets(remarks))
    scores = _score_table(table)
    if scores.rows:
        blocks.append(scores)
    return Section("Findings", tuple(blocks))


def lobe_section(job: ExportJob) -> Section:
    """Return the numbers per lobe, lung and total, and why some are absent."""
    table, anatomy = job.result.quantification, job.result.anatomy
    columns = [
        (key, TableColumn(_column_title(key), share, is_number=True))
        for key, share in _LOBE_COLUMNS
        if key == _INTERVAL or any(key in row.measures for row in table.rows)
    ]
    rows = tuple(
        (_region_name(row), *(_cell(row, key) for key, _ in columns)) for row in table.rows
    )
    keys = [row.region for row in table.rows]
    blocks: list[Block] = [
        Table(
            (TableColumn("Region", 2.0), *(column for _, column in columns)),
            rows,
            strong=tuple(number for number, key in enumerate(keys) if key == "total"),
            ruled=tuple(number for number, key in enumerate(keys) if key in _GROUP_STARTS),
        )
    ]
    if anatomy.lobe_source is not LobeSource.NONE:
        source = f"Lobes: {anatomy.lobe_source.value}"
        if anatomy.lobe_uncertainty_mm > 0:
            source += f", ~ borders uncertain by about {anatomy.lobe_uncertainty_mm:.0f} mm"
        blocks.append(Paragraph(source + ".", "quiet"))
    blocks += [Paragraph(f"{ABSENT}: {text}", "quiet") for text in _reasons(table)]
    return Section("By lobe", tuple(blocks))


def public_text(job: ExportJob, text: str) -> str:
    """Return a sentence without paths and without the CT's name, unless the job is identified."""
    if job.identified:
        return text
    provenance = job.result.ct.provenance
    for name in (provenance.name, provenance.series_instance_uid):
        text = without_name(text, name)
    return re.sub(r"(?<!\w)(?:[A-Za-z]:)?[\\/][^\s\"']*[\\/][^\s\"']*", "[path removed]", text)


def in_words(definition: str) -> str:
    """Return a definition with the columns named as the report names them."""
    for name, title in COLUMN_TITLES.items():
        definition = re.sub(rf"\b{name}\b", title, definition)
    return definition


def format_measure(measure: Measure) -> str:
    """Return a number with its unit as a reader expects it; ``n/a`` for an absent one."""
    if measure.value is None:
        return ABSENT
    number = format_number(measure, measure.value)
    return f"{number} {measure.unit}" if measure.unit in ("ml", "%", "HU") else number


def format_number(measure: Measure, value: float) -> str:
    """Return one of a measure's numbers with as many digits as its unit deserves."""
    if measure.unit == "%":
        return format_percent(value)
    return format_volume(value) if measure.unit == "ml" else f"{value:.0f}"


def _headline(job: ExportJob) -> str:
    percent = job.result.quantification.row("total").measures["infected_percent"]
    if percent.value is None:
        return f"The infected share is not known: {percent.reason}."
    if not job.result.infection.any():
        return "No infection was found in the lungs."
    interval = format_interval(percent)
    return f"{format_percent(percent.value)} % of the lungs is infected" + (
        f" (interval {interval} %)." if interval else "."
    )


def _remarks(job: ExportJob) -> tuple[str, ...]:
    """Return what to know before trusting the numbers."""
    result = job.result
    flags = [flag for row in result.quantification.rows for flag in row.flags if flag != "edited"]
    texts = dict.fromkeys((*result.warnings, *warnings_for(flags)))
    return tuple(text if is_own_sentence(text) else public_text(job, text) for text in texts)


def _score_table(table: Quantification) -> Table:
    rows = []
    for key, score in table.scores.items():
        if key in _ALSO_ELSEWHERE:
            continue
        title = measure_title(key, score.unit).split(" [")[0]
        text = in_words(table.conventions.get(key, ""))
        if score.value is None:
            text = f"{ABSENT}: {score.reason}. {text}"
        rows.append((title, format_measure(score), _score_interval(score), text))
    return Table(
        (
            TableColumn("Score", 1.9),
            TableColumn("Value", 0.9),
            TableColumn("Interval", 0.8),
            TableColumn("Definition", 5.0),
        ),
        tuple(rows),
    )


def _score_interval(score: Measure) -> str:
    if score.low is None or score.high is None or score.value is None:
        return ""
    ends = [format_number(score, end) for end in (score.low, score.high)]
    return ends[0] if ends[0] == ends[1] else " – ".join(ends)


def _region_name(row: RegionRow) -> str:
    return row.label[:1].upper() + row.label[1:] + approximate_mark(row)


def _column_title(key: str) -> str:
    title = COLUMN_TITLES.get(key, "Interval [%]")
    return title.replace("Consoli", "Consoli\N{SOFT HYPHEN}")


def _cell(row: RegionRow, key: str) -> str:
    if key == _INTERVAL:
        percent = row.measures["infected_percent"]
        return ABSENT if percent.value is None else format_interval(percent)
    measure = row.measures.get(key)
    if measure is None:
        return ""
    return ABSENT if measure.value is None else format_number(measure, measure.value)


def _reasons(table: Quantification) -> Iterable[str]:
    """Return why numbers are absent, each reason once, with the rows it holds for."""
    shown = [key for key, _ in _LOBE_COLUMNS]
    found: dict[str, list[str]] = {}
    for row in table.rows:
        for key in shown:
            measure = row.measures.get(key)
            if measure is not None and measure.value is None:
                labels = found.setdefault(measure.reason, [])
                if row.label not in labels:
                    labels.append(row.label)
    return [f"{', '.join(labels)}: {reason}." for reason, labels in found.items()]
