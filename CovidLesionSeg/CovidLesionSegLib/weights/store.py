"""The store of models: finds, checks, adds and removes weight files. Never uses a network.

A *shelf* is a folder. A catalogue ``models.json`` on it describes the files in the folder
``Weights`` beside it; every sub-folder with a catalogue of its own counts as well. The
bundled ``Resources``, a copy of them in a hospital's shared folder, and the user's store,
which has one sub-folder per imported model, are all shelves.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.resources import resources_dir

from .catalogue import CatalogueEntry, format_catalogue, is_valid_id, read_catalogue
from .locations import shared_model_dirs, user_model_dir

Origin = Literal["shared", "bundled", "user"]

_CATALOGUE = "models.json"
_WEIGHTS = "Weights"
_TEMPORARY = ".temporary-"
_STALE_S = 24 * 3600
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """A model that was found in the store.

    Attributes:
        entry: Its catalogue entry.
        path: Its weights file; not yet checked.
        origin: ``"shared"``, ``"bundled"`` or ``"user"``.
    """

    entry: CatalogueEntry
    path: Path
    origin: Origin


class WeightsStore:
    """Models from the shared folders, the bundled ones, and the user's own.

    A shared folder may replace a bundled model of the same id, because the administrator
    decided so. The user's models only ever add to the others.

    Args:
        bundled: Shelf that comes with the installation; None for none.
        user_dir: Shelf of the user, the only one that is written to; made when needed.
        shared_dirs: Further shelves, the first one wins; may be read-only.
    """

    def __init__(
        self, bundled: Path | None, user_dir: Path, shared_dirs: Sequence[Path] = ()
    ) -> None:
        self._user_dir = user_dir
        shelves: list[tuple[Origin, Path]] = [("shared", folder) for folder in shared_dirs]
        if bundled is not None:
            shelves.append(("bundled", bundled))
        self._shelves = (*shelves, ("user", user_dir))

    def models(self) -> tuple[StoredModel, ...]:
        """Return all models, each id once.

        A catalogue that can't be read hides its own models only; `problems` tells why.
        """
        found: dict[str, StoredModel] = {}
        for result in self._scan():
            if isinstance(result, CovidLesionSegError):
                _log.warning("%s: %s", result.code, result.message)
                continue
            first = found.setdefault(result.entry.id, result)
            if first is not result:
                _log.info("%s is hidden by %s", result.path, first.path)
        return tuple(found.values())

    def problems(self) -> tuple[CovidLesionSegError, ...]:
        """Return why catalogues can't be read; empty when all is well."""
        return tuple(error for error in self._scan() if isinstance(error, CovidLesionSegError))

    def find(self, model_id: str) -> StoredModel:
        """Return the model with this id.

        Raises:
            InputError: ``model-unknown``; the hint names the models that exist.
        """
        models = {model.entry.id: model for model in self.models()}
        if model_id not in models:
            unreadable = "".join(f" {error.message}" for error in self.problems())
            raise InputError(
                "model-unknown",
                f"There is no model {model_id!r}.{unreadable}",
                f"Known models: {', '.join(models) or 'none'}.",
            )
        return models[model_id]

    def read(self, model: StoredModel) -> bytes:
        """Return the content of a weights file after checking its size and digest.

        What is returned is what was checked: the file is read once.

        Raises:
            CovidLesionSegError: ``weights-missing``, ``weights-incomplete`` or
                ``weights-damaged``.
        """
        entry, path = model.entry, model.path
        hint = "Install the extension again." if model.origin == "bundled" else "Import it again."
        try:
            size = path.stat().st_size
            data = path.read_bytes() if size == entry.bytes else b""
        except OSError as error:
            raise CovidLesionSegError(
                "weights-missing",
                f"The weights of {entry.id!r} can't be read from {path}: {error.strerror}.",
                hint,
            ) from error
        if size != entry.bytes:
            raise CovidLesionSegError(
                "weights-incomplete",
                f"The weights of {entry.id!r} are incomplete or damaged: {path} has "
                f"{size:,} bytes instead of {entry.bytes:,}.",
                hint,
            )
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise CovidLesionSegError(
                "weights-damaged",
                f"The weights of {entry.id!r} are damaged: {path} has the right size, "
                "but not the content that the catalogue promises.",
                hint,
            )
        return data

    def add(self, entry: CatalogueEntry, data: bytes) -> StoredModel:
        """Put a model into the user's store, completely or not at all.

        Several processes may do this at once; of two with the same id one succeeds.

        Args:
            entry: Its size and digest must be those of ``data``.
            data: Content of the weights file.

        Raises:
            InputError: ``model-exists``.
            CovidLesionSegError: ``store-not-writable``.
        """
        if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise ValueError(f"size or digest of {entry.id!r} are not those of its data")
        if any(model.entry.id == entry.id for model in self.models()):
            raise _exists(entry.id)
        target = self._user_dir / entry.id
        try:
            self._user_dir.mkdir(parents=True, exist_ok=True)
            _sweep(self._user_dir)
            staging = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._user_dir))
        except OSError as error:
            raise _not_writable(self._user_dir, error) from error
        try:
            _write_model(staging, entry, data)
            # Renaming a folder is atomic and fails where a model of this id has appeared.
            staging.rename(target)
        except OSError as error:
            if target.exists():
                raise _exists(entry.id) from error
            raise _not_writable(self._user_dir, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return StoredModel(entry, target / _WEIGHTS / entry.file, "user")

    def remove(self, model_id: str) -> None:
        """Delete a model of the user.

        Raises:
            InputError: ``model-unknown``, or ``model-not-yours`` for a bundled or shared one.
            CovidLesionSegError: ``store-not-writable``.
        """
        target = self._user_dir / model_id
        # The catalogue is not asked: a damaged one must not keep a model from being removed.
        if not (is_valid_id(model_id) and target.is_dir()):
            self.find(model_id)
            raise InputError(
                "model-not-yours",
                f"The model {model_id!r} is not one that you imported.",
                "Bundled and shared models can't be removed.",
            )
        try:
            doomed = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._user_dir))
            target.rename(doomed / model_id)
        except OSError as error:
            raise _not_writable(self._user_dir, error) from error
        shutil.rmtree(doomed, ignore_errors=True)

    def _scan(self) -> Iterator[StoredModel | CovidLesionSegError]:
        for origin, shelf in self._shelves:
            if not shelf.is_dir():
                if origin != "user":
                    yield CovidLesionSegError(
                        "shelf-missing",
                        f"The folder of {origin} models {shelf} can't be read.",
                        "Check that it exists and is connected.",
                    )
                continue
            # The bundled catalogue must be there; its absence is a problem to report.
            folders = [shelf] if origin == "bundled" else _folders_with_catalogue(shelf)
            for folder in folders:
                yield from _read_folder(folder, origin)


def default_store() -> WeightsStore:
    """Return the store of this installation and this user.

    Searched are the folders in ``COVID_LESION_SEG_MODELS``, the bundled models, and the
    user's own.

    Raises:
        CovidLesionSegError: ``resources-missing``.
    """
    return WeightsStore(resources_dir(), user_model_dir(), shared_model_dirs())


def _folders_with_catalogue(shelf: Path) -> list[Path]:
    try:
        inner = sorted(path for path in shelf.iterdir() if not path.name.startswith("."))
    except OSError:
        return []
    return [folder for folder in (shelf, *inner) if (folder / _CATALOGUE).is_file()]


def _read_folder(folder: Path, origin: Origin) -> Iterator[StoredModel | CovidLesionSegError]:
    try:
        entries = read_catalogue(folder / _CATALOGUE)
    except CovidLesionSegError as error:
        yield error
        return
    for entry in entries:
        yield StoredModel(entry, folder / _WEIGHTS / entry.file, origin)


def _sweep(user_dir: Path) -> None:
    """Delete what a process that was killed left behind."""
    for folder in user_dir.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder)


def _write_model(folder: Path, entry: CatalogueEntry, data: bytes) -> None:
    """Write the shelf of one model and force it to the disk."""
    (folder / _WEIGHTS).mkdir()
    files = {
        folder / _WEIGHTS / entry.file: data,
        folder / _CATALOGUE: format_catalogue((entry,)).encode(),
    }
    for path, content in files.items():
        with path.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    # mkdtemp makes folders private; a model may be shared like any other file.
    folder.chmod(0o755)


def _exists(model_id: str) -> InputError:
    return InputError(
        "model-exists",
        f"There is a model {model_id!r} already.",
        "Choose another id with --id, or remove that model first.",
    )


def _not_writable(folder: Path, error: OSError) -> CovidLesionSegError:
    return CovidLesionSegError(
        "store-not-writable",
        f"The model folder {folder} can't be written to: {error.strerror}.",
        "Check the permissions and the free space.",
    )
