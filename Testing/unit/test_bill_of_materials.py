"""The committed bill of materials says what the pins and the catalogue say."""

from __future__ import annotations

import json

from Testing.bill_of_materials import PINS, TARGET, bill_of_materials


def test_the_bill_is_current() -> None:
    # Otherwise: python -m Testing.bill_of_materials
    assert TARGET.read_text(encoding="utf-8") == bill_of_materials()


def test_every_pin_and_every_weight_file_is_on_it() -> None:
    components = json.loads(bill_of_materials())["components"]
    libraries = {(c["name"], c["version"]) for c in components if c["type"] == "library"}
    pins = {tuple(pin.split(" ;")[0].split("==")) for pin in _lines()}
    assert libraries == pins
    weights = [c for c in components if c["type"] == "machine-learning-model"]
    assert {"inf-net-lite", "lung-unet-lite"} <= {c["name"] for c in weights}
    assert all(len(c["hashes"][0]["content"]) == 64 for c in weights)


def _lines() -> list[str]:
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
