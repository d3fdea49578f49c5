"""How a result was made, what its numbers mean, and what it must not be used for."""

from __future__ import annotations

from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from CovidLesionSegLib.weights.store import default_store

from .job import ExportJob
from .report_findings import COLUMN_TITLES, in_words
from .report_model import Bullets, Facts, Section

INTENDED_USE = (
    "Intended use: research on infection (ground glass and consolidation) in non-contrast CT of "
    "adult chests with COVID-19 pneumonia, every result reviewed by a radiologist. Neither "
    "CovidLesionSeg nor 3D Slicer is a medical device."
)
_NOT_FOR = (
    "Not for diagnosis, screening or treatment decisions; not for children. The models can't "
    "tell COVID-19 from other causes of opacities."
)
_INTERVALS = (
    "The intervals say how unsure the model and the lobes' borders are. They do not cover errors "
    "that the model does not suspect, nor differences between readers."
)
_SMALLEST = f"Findings below {MINIMUM_LESION_ML:g} ml are left out."
_DEFINED = (
    "infected_ml",
    "infected_percent",
    "ggo_percent",
    "consolidation_percent",
    "lesion_count",
    "involvement_score",
)


def provenance_section(job: ExportJob) -> Section:
    """Return model, digests, device, versions and what identifies the CT without a name."""
    result, run = job.result, job.result.run
    z, y, x = result.ct.shape_zyx
    spacing = " × ".join(f"{step:.2f}" for step in result.ct.spacing_mm_zyx[::-1])
    versions = [f"{name} {version}" for name, version in run.versions.items()]
    entry = _model(run.model_id, run.weights_sha256.get(run.model_id, ""))
    pairs = [
        ("Model", run.model_id if entry is None else f"{run.model_id}, version {entry.version}")
    ]
    if entry is not None:
        pairs += [("Role of the model", entry.role), ("Licence of the model", entry.card.licence)]
    pairs += [(f"SHA-256 of {name}", digest) for name, digest in run.weights_sha256.items()]
    seconds = sum(run.timings_s.values())
    pairs += [
        ("Threshold", f"{run.threshold:g}"),
        ("Device", f"{run.device}, {seconds:.0f} s" if seconds else run.device),
        ("Software", ", ".join(versions)),
        ("Definitions", f"version {result.quantification.definitions}"),
        ("CT", f"{x} × {y} × {z} voxels of {spacing} mm, from {result.ct.provenance.source}"),
        ("SHA-256 of the CT", result.ct.digest()),
    ]
    return Section("How it was made", (Facts(tuple(pairs)),))


def definition_section(job: ExportJob) -> Section:
    """Return what the columns of the table mean; those of the scores stand beside them."""
    conventions = job.result.quantification.conventions
    pairs = [
        (COLUMN_TITLES[key], in_words(conventions[key])) for key in _DEFINED if key in conventions
    ]
    doubt = "Mean uncertainty of the network over the lesion, or the models' disagreement where "
    if "lesion_class" in conventions:
        pairs.append(("Type of a lesion", in_words(conventions["lesion_class"])))
    pairs.append(("Doubt [%]", doubt + "that is larger."))
    return Section("Definitions", (Facts(tuple(pairs)),))


def limit_section(job: ExportJob) -> Section:
    """Return intended use and limits, with what was measured for the model."""
    run = job.result.run
    texts = [INTENDED_USE, _NOT_FOR, _INTERVALS, _SMALLEST]
    entry = _model(run.model_id, run.weights_sha256.get(run.model_id, ""))
    if entry is not None:
        texts.append(f"Model card, not for: {entry.card.not_for}")
        texts += _measured(entry)
    return Section("Intended use and limits", (Bullets(tuple(texts)),))


def _model(model_id: str, sha256: str) -> CatalogueEntry | None:
    """Return the catalogue's entry; None for another file, or a model not installed here."""
    try:
        entry = default_store().find(model_id).entry
    except CovidLesionSegError:
        return None
    return entry if entry.sha256 == sha256 else None


def _measured(entry: CatalogueEntry) -> list[str]:
    dice = entry.card.pipeline_score("dice_diseased")
    if dice is None:
        return []
    interval = f"{dice['low']:.2f} – {dice['high']:.2f}"
    text = (
        "Dice coefficient against experts, mean over the scans with disease: "
        f"{dice['mean']:.2f} (95 % interval {interval})."
    )
    return [f"{text} {entry.card.split}"]
