"""One CT of a batch, under a name that stays the same and tells nobody who the patient is."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_DIGITS = 16
"""Hex digits of a name: two of ten million cases agree with a probability of 3 in a million."""

_NAME_LENGTH = 40


@dataclass(frozen=True)
class Case:
    """One CT of a batch.

    Attributes:
        id: Name of its folder and of its row; the same in every run.
        path: Absolute path of a file, or of a folder with DICOM files.
        series_instance_uid: The series in that folder; empty for files, and for a folder
            whose largest series is wanted.
        anonymous: Whether messages and results must not name the file.
    """

    id: str
    path: Path
    series_instance_uid: str = ""
    anonymous: bool = True

    @property
    def key(self) -> str:
        """What makes two mentions the same case: the series, else the real path."""
        return self.series_instance_uid or os.path.realpath(self.path)

    def without_names(self, text: str) -> str:
        """Return a message with this case's id in the place of its path and file names."""
        if not self.anonymous:
            return text
        replacements = {str(self.path): self.id, self.path.name: self.id}
        # A message about a series may name one of its files.
        with suppress(OSError):
            replacements |= {file.name: "a file" for file in self.path.iterdir()}
        for name, replacement in replacements.items():
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", replacement, text)
        return text


def make_case(path: Path, series_instance_uid: str = "", *, keep_name: bool = False) -> Case:
    """Return the case of a file or series, with a name made from what it is.

    Args:
        path: File, or folder with DICOM files.
        series_instance_uid: The series in that folder.
        keep_name: Begin the id with the name of the file or folder. Such names often hold a
            patient's name, so this is not the default.
    """
    path = path.absolute()
    case = Case("", path, series_instance_uid, anonymous=not keep_name)
    digest = hashlib.sha256(case.key.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS]
    stem = _plain(path.name) if keep_name else "case"
    return Case(f"{stem}-{digest}", path, series_instance_uid, anonymous=not keep_name)


def _plain(name: str) -> str:
    """Return a file's name without its suffix, in characters that every file system takes."""
    stem = re.sub(r"(\.nii|\.nrrd|\.nhdr|\.mha|\.mhd|\.dcm)(\.gz)?$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:_NAME_LENGTH].strip("_-") or "case"
