"""Write a result in several formats: all of them or none, and nothing is overwritten silently."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from CovidLesionSegLib.engine.atomic import staged
from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .formats import ExportFormat
from .job import ExportJob

DEFAULT_STEM = "covid-lesion-seg"
"""Begin of every file name: names nobody."""


def export_files(
    job: ExportJob,
    formats: Mapping[str, ExportFormat],
    folder: Path,
    stem: str = DEFAULT_STEM,
    *,
    force: bool = False,
) -> dict[str, tuple[Path, ...]]:
    """Write a job in every format asked for.

    Everything is written to a hidden folder inside the target first. When anything fails, is
    cancelled or killed, files that were there before are as they were.

    Args:
        job: What to write.
        formats: Formats by name, for example ``{"nifti": FORMATS["nifti"]}``.
        folder: Where to; made when it is missing.
        stem: File names without their suffix.
        force: Replace files that are there.

    Returns:
        The files by name of the format.

    Raises:
        CovidLesionSegError: ``output-not-written``.
        InputError: ``export-unavailable``, ``output-exists``, ``output-not-writable``.
    """
    _check(job, formats, folder, stem, force)
    names: dict[str, tuple[str, ...]] = {}
    with staged(folder, lambda staging, target: _publish(staging, target, force)) as staging:
        for key, chosen in formats.items():
            written = chosen.write(job.unnamed, staging / f"{stem}{chosen.suffix}")
            names[key] = tuple(path.name for path in written)
    return {key: tuple(folder / name for name in files) for key, files in names.items()}


def _check(
    job: ExportJob, formats: Mapping[str, ExportFormat], folder: Path, stem: str, force: bool
) -> None:
    """Find out before the long work what is bound to fail."""
    for chosen in formats.values():
        reason = chosen.unavailable(job)
        if reason is not None:
            raise InputError("export-unavailable", f"{chosen.title} can't be written.", reason)
        target = folder / f"{stem}{chosen.suffix}"
        if not force and target.exists():
            raise _exists(target.name)


def _exists(name: str) -> InputError:
    return InputError(
        "output-exists",
        f"There is a file {name} already.",
        "Choose another folder or name, or say that it may be replaced (--force).",
    )


def _publish(staging: Path, folder: Path, force: bool) -> None:
    """Move all files to their places; when one can't, put the old ones back."""
    new = sorted(path for path in staging.iterdir() if path.is_file())
    old = staging / "old"
    old.mkdir()
    for path in new:
        if not force and (folder / path.name).exists():
            raise _exists(path.name)
    done: list[Path] = []
    try:
        for path in new:
            target = folder / path.name
            if target.exists():
                target.replace(old / path.name)
            done.append(target)
            path.replace(target)
    except OSError as error:
        _put_back(done, old)
        raise CovidLesionSegError(
            "output-not-written",
            f"{folder.name} could not be written to: {error.strerror or error}.",
            "Choose another folder, or close its files in other programs.",
        ) from error
    except BaseException:
        _put_back(done, old)
        raise


def _put_back(targets: list[Path], old: Path) -> None:
    for target in targets:
        with suppress(OSError):
            if (old / target.name).exists():
                (old / target.name).replace(target)
            else:
                target.unlink(missing_ok=True)
