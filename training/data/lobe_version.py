"""What the engine's lobes of a case depend on besides its CT, so that kept ones can't go stale."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from CovidLesionSegLib import engine
from CovidLesionSegLib.engine.models import LUNG_MODEL
from CovidLesionSegLib.weights.store import default_store


def lobes_digest(source_digest: str) -> str:
    """Return what names the lobes of a case, and all that is made of them, in the cache.

    It changes with the case's files, with the lung network's weights and with the engine's
    code: lungs and lobes lean on most of the engine, and finding them anew costs some ten
    seconds a case, while training on old ones costs a model that nobody can make again.

    Args:
        source_digest: SHA-256 of the case's files.
    """
    lungs = default_store().find(LUNG_MODEL).entry.sha256
    text = json.dumps([source_digest, lungs, code_digest(Path(engine.__file__).parent)])
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(folder: Path) -> str:
    """Return the SHA-256 of a package's modules and of their names; subpackages don't count."""
    sha = hashlib.sha256()
    for module in sorted(folder.glob("*.py")):
        sha.update(f"{module.name}:{hashlib.sha256(module.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()
