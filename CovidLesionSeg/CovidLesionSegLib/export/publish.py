"""Write a result in several formats: all of them or none, and nothing is overwritten silently."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from CovidLesionSegLib.engine.atomic import staged
from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .formats import ExportFormat
from .job import ExportJob
from .segments import segment_definitions

DEFAULT_STEM = "covid-lesion-seg"
"""Begin of every file name: names nobody."""

_NOT_IN_NAMES = "/\\:\0"


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
        InputError: ``export-name``, ``export-unavailable``, ``output-exists``,
            ``output-not-writable``.
    """
    names: dict[str, tuple[str, ...]] = {}
    with publishing(job, formats, folder, stem, force=force) as staging:
        for key, chosen in formats.items():
            written = chosen.write(job.unnamed, staging / f"{stem}{chosen.suffix}")
            names[key] = tuple(path.name for path in written)
    return {key: tuple(folder / name for name in files) for key, files in names.items()}


@contextmanager
def publishing(
    job: ExportJob,
    formats: Mapping[str, ExportFormat],
    folder: Path,
    stem: str = DEFAULT_STEM,
    *,
    force: bool = False,
) -> Iterator[Path]:
    """Yield a hidden folder to write into; its files appear in the target at the end, all or none.

    For who writes the formats in steps or in another process; arguments and errors are those
    of `export_files`.
    """
    _check(job, formats, folder, stem, force)
    stale = _names_of(formats, stem) if force else frozenset()
    with staged(folder, lambda staging, target: _publish(staging, target, force, stale)) as staging:
        yield staging


def _check(
    job: ExportJob, formats: Mapping[str, ExportFormat], folder: Path, stem: str, force: bool
) -> None:
    """Find out before the long work what is bound to fail."""
    # With a folder in it, files would end outside the staging folder, or nowhere.
    if not stem or any(mark in stem for mark in _NOT_IN_NAMES):
        raise InputError(
            "export-name",
            f"{stem!r} can't be the begin of a file name.",
            "Give a name without folders; the folder is said with -o.",
        )
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


def _names_of(formats: Mapping[str, ExportFormat], stem: str) -> frozenset[str]:
    """Return every name that formats may write: with a file for each layer or segment, theirs."""
    segments = segment_definitions()
    layers = sorted({segment.layer for segment in segments})
    parts = (
        *("", *(f"-{layer}" for layer in layers)),
        *(f"-{segment.id}" for segment in segments),
        *(f"_{segment.name}" for segment in segments),
    )
    return frozenset(f"{stem}{part}{it.suffix}" for it in formats.values() for part in parts)


def _publish(staging: Path, folder: Path, force: bool, stale: frozenset[str]) -> None:
    """Move all files to their places; when one can't, put the old ones back.

    Args:
        staging: Where the files are.
        folder: Where they go.
        force: Replace files that are there.
        stale: Names that an earlier export may have left; what is not written anew goes, or a
            segment that this result lacks would stand beside it as another patient's.
    """
    new = sorted(path for path in staging.iterdir() if path.is_file())
    old = staging / "old"
    for path in new:
        if not force and (folder / path.name).exists():
            raise _exists(path.name)
    done: list[Path] = []
    try:
        old.mkdir()
        for path in new:
            target = folder / path.name
            if target.exists():
                _keep(target, old / path.name)
            done.append(target)
            path.replace(target)
        for name in sorted(stale - {path.name for path in new}):
            target = folder / name
            if target.is_file():
                _keep(target, old / name)
                done.append(target)
                target.unlink(missing_ok=True)
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


def _keep(target: Path, backup: Path) -> None:
    """Keep an old file under a second name until all new ones are in place.

    As a link, so that a kill never finds the target's name without a file; by a move where
    the file system knows no links.
    """
    try:
        os.link(target, backup)
    except (OSError, NotImplementedError):
        target.replace(backup)


def _put_back(targets: list[Path], old: Path) -> None:
    for target in targets:
        with suppress(OSError):
            if (old / target.name).exists():
                (old / target.name).replace(target)
            else:
                target.unlink(missing_ok=True)
