"""Who looked at a result, and what was changed: the part of a report about the review."""

from __future__ import annotations

from collections.abc import Sequence

from CovidLesionSegLib.engine.result import Lesion
from CovidLesionSegLib.engine.review_values import (
    ACCEPTED,
    EDITED,
    REJECTED,
    UNREVIEWED,
    LogEntry,
    doubt_of,
    finished_utc,
)

from .job import ExportJob
from .lobe_chart import format_volume
from .report_model import Block, Facts, Paragraph, Section, Table, TableColumn

_MOST_LESIONS = 15
_MOST_STEPS = 40
_MOST_IDS = 6
_STATES = {
    ACCEPTED: "accepted",
    EDITED: "edited",
    REJECTED: "rejected",
    UNREVIEWED: "not reviewed",
}


def review_sentence(job: ExportJob) -> str:
    """Return in one sentence whether a person has looked at this."""
    review = job.review
    edited = bool(job.edited_layers)
    if review is None or not review.lesions:
        if edited:
            return "Computed, then edited by a person; no review is recorded."
        return "Computed automatically; not reviewed by a person."
    total = len(review.lesions)
    open_count = review.count(UNREVIEWED)
    finished = finished_utc(review.log) is not None
    after = " and edited" if edited else ""
    if finished and not open_count:
        return f"Reviewed{after} by a person; the review is finished."
    if open_count == total:
        return "Edited by a person; not reviewed." if edited else "Not reviewed by a person yet."
    return f"Review under way: {total - open_count} of {total} lesions decided."


def review_section(job: ExportJob) -> Section:
    """Return the state of the review, the largest lesions and the log of what was done."""
    review = job.review
    lesions = job.result.lesions if review is None else review.lesions
    blocks: list[Block] = [Paragraph(review_sentence(job))]
    if review is not None:
        blocks.append(Facts(_state_facts(job, review.log)))
    blocks += _lesion_blocks(lesions)
    if review is not None and review.log:
        blocks += _log_blocks(review.log, job.result.ct.voxel_volume_ml)
    return Section("Lesions and review", tuple(blocks))


def _state_facts(job: ExportJob, log: Sequence[LogEntry]) -> tuple[tuple[str, str], ...]:
    if job.review is None:
        return ()
    counts = [
        f"{count} {text}" for state, text in _STATES.items() if (count := job.review.count(state))
    ]
    pairs = [("Lesions", ", ".join(counts) or "none")]
    if job.edited_layers:
        pairs.append(("Edited by a person", ", ".join(sorted(job.edited_layers))))
    if log:
        voxel_ml = job.result.ct.voxel_volume_ml
        added = sum(entry.added_voxels for entry in log) * voxel_ml
        removed = sum(entry.removed_voxels for entry in log) * voxel_ml
        pairs.append(
            ("Voxels changed", f"{format_volume(added)} ml added, {format_volume(removed)} removed")
        )
        agreement = log[-1].dice_to_computed
        pairs.append(("Dice to the mask as computed", f"{agreement:.3f}"))
    finished = finished_utc(log)
    if finished is not None:
        pairs.append(("Review finished", _time(finished)))
    return tuple(pairs)


def _lesion_blocks(lesions: Sequence[Lesion]) -> list[Block]:
    if not lesions:
        return []
    largest = sorted(lesions, key=lambda lesion: (-lesion.volume_ml, lesion.id))[:_MOST_LESIONS]
    # Results of earlier versions know no type.
    with_type = any(lesion.lesion_class for lesion in lesions)
    columns = (
        TableColumn("Lesion", 0.8, is_number=True),
        TableColumn("Place", 1.6),
        *((TableColumn("Type", 1.4),) if with_type else ()),
        TableColumn("Volume [ml]", 1.0, is_number=True),
        TableColumn("Mean [HU]", 1.0, is_number=True),
        TableColumn("Doubt [%]", 1.0, is_number=True),
        TableColumn("State", 1.4),
    )
    rows = tuple(
        (
            str(lesion.id),
            _place(lesion),
            *((lesion.lesion_class,) if with_type else ()),
            format_volume(lesion.volume_ml),
            f"{lesion.mean_hu:.0f}".replace("-", "\N{MINUS SIGN}"),
            f"{100.0 * doubt_of(lesion):.0f}",
            _STATES.get(lesion.state, lesion.state),
        )
        for lesion in largest
    )
    blocks: list[Block] = [Table(columns, rows)]
    if len(lesions) > len(largest):
        text = f"The {len(largest)} largest of {len(lesions)} lesions."
        blocks.append(Paragraph(text, "quiet"))
    return blocks


def _log_blocks(log: Sequence[LogEntry], voxel_ml: float) -> list[Block]:
    columns = (
        TableColumn("Time (UTC)", 1.6),
        TableColumn("What was done", 1.6),
        TableColumn("Lesions", 1.2),
        TableColumn("Added [ml]", 1.0, True),
        TableColumn("Removed [ml]", 1.0, True),
        TableColumn("Dice to computed", 1.2, True),
    )
    rows = tuple(
        (
            _time(entry.time_utc),
            entry.action,
            _ids(entry.lesions),
            format_volume(entry.added_voxels * voxel_ml),
            format_volume(entry.removed_voxels * voxel_ml),
            f"{entry.dice_to_computed:.3f}",
        )
        for entry in log[-_MOST_STEPS:]
    )
    blocks: list[Block] = [Table(columns, rows)]
    if len(log) > _MOST_STEPS:
        text = f"The last {_MOST_STEPS} of {len(log)} steps; review-log.csv holds them all."
        blocks.append(Paragraph(text, "quiet"))
    return blocks


def _ids(text: str) -> str:
    """Return ids as they fit into a cell; review-log.csv holds them all."""
    ids = text.split()
    return text if len(ids) <= _MOST_IDS else f"{len(ids)} lesions"


def _place(lesion: Lesion) -> str:
    if lesion.lobe is not None:
        return lesion.lobe.long_name
    return "" if lesion.lung is None else f"{lesion.lung.name.lower()} lung"


def _time(time_utc: str) -> str:
    """Return ``"2026-11-22 01:02"`` for ``"2026-11-22T01:02:03+00:00"``."""
    return time_utc[:16].replace("T", " ")
