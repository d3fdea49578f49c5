"""What a model was made from: for its catalogue entry, for its card, and for who repeats it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.catalogue import read_catalogue

from .config import TrainingConfig, load_config
from .run_folder import RunFolder, identity
from .splits import Split

CONFIGS = Path(__file__).with_name("configs")
_START = "initial_weights_sha256"


def source_of(run: RunFolder, config: TrainingConfig, step: int) -> dict[str, Any]:
    """Return where a run's weights come from, as the catalogue has it.

    Args:
        run: The run.
        config: Its config.
        step: Steps done.

    Returns:
        The steps; the committed config, or for any other the name of the run, whose folder holds
        its config; and the digest of the weights that the run started from, if it did.
    """
    source: dict[str, Any] = {"steps": step}
    if is_committed(config):
        source["config"] = f"training/configs/{config.name}.json"
    else:
        source["run"] = run.path.resolve().name
    start = _provenance(run).get(_START)
    return source if start is None else {**source, _START: start}


def training_data_of(run: RunFolder, config: TrainingConfig) -> str:
    """Return what a model was trained on, in a sentence for its card.

    A config that is no committed one says what it was trained on, and on top of what; whatever
    its card says as well is kept, but for the text of a committed config that it was copied from.
    """
    text = config.card.get("training_data", "")
    if is_committed(config):
        return text
    own = f"Cases of {', '.join(config.data.sources)}"
    start = _provenance(run).get(_START)
    if start is not None:
        own += f", on top of {_name_of(start)}"
    copied = any(text == load_config(path).card.get("training_data") for path in _committed())
    return f"{own}." if copied or not text else f"{own}. {text}"


def general_cases(run: RunFolder, config: TrainingConfig, split: Split) -> list[str]:
    """Return the cases of other sources that have taught the general encoder of a run, if any."""
    if config.relation is None:
        return []
    digests: Mapping[str, str] = _provenance(run).get("data_sha256", {})
    return sorted(set(digests) - {*split.training, *split.validation})


def is_committed(config: TrainingConfig) -> bool:
    """Tell whether a run's config is the committed one of its name, but for steps and card."""
    path = CONFIGS / f"{config.name}.json"
    if path not in _committed():
        return False
    return identity(load_config(path).to_dict()) == identity(config.to_dict())


def _committed() -> list[Path]:
    return sorted(CONFIGS.glob("*.json"))


def _provenance(run: RunFolder) -> Mapping[str, Any]:
    if not run.provenance.exists():
        return {}
    found: dict[str, Any] = json.loads(run.provenance.read_text(encoding="utf-8"))
    return found


def _name_of(sha256: str) -> str:
    """Return the bundled model of a digest, or the digest in words."""
    for entry in read_catalogue(resources_dir() / "models.json"):
        if entry.sha256 == sha256:
            return f"{entry.id}, version {entry.version}, and what that was trained on"
    return f"weights with the SHA-256 {sha256}"
