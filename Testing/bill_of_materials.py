"""The software bill of materials, from the pins and the catalogue of weights.

``python -m Testing.bill_of_materials`` writes `Resources/bill-of-materials.cdx.json`
(CycloneDX 1.6); a test compares it with what the pins say now.
"""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from CovidLesionSegLib.version import __version__

REPOSITORY = Path(__file__).resolve().parents[1]
TARGET = REPOSITORY / "Resources" / "bill-of-materials.cdx.json"
PINS = REPOSITORY / "constraints.txt"
CATALOGUE = REPOSITORY / "CovidLesionSeg" / "Resources" / "models.json"
_NAMESPACE = UUID("6f3ad2a6-8a1c-4a38-9d1f-0a5e3c1d7b42")


def library_components(pins: Path) -> list[Component]:
    """Return one component per pinned version; a condition on Python becomes a property."""
    components = []
    for line in pins.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pin = Requirement(line)
        version = str(pin.specifier).removeprefix("==")
        conditions = [Property(name="condition", value=str(pin.marker))] if pin.marker else []
        components.append(
            Component(
                name=pin.name,
                version=version,
                type=ComponentType.LIBRARY,
                purl=PackageURL("pypi", name=pin.name.lower().replace("_", "-"), version=version),
                bom_ref=f"{pin.name}@{version}",
                properties=conditions,
            )
        )
    return components


def weight_components(catalogue: Path) -> list[Component]:
    """Return one component per bundled weight file, with its SHA-256."""
    entries = json.loads(catalogue.read_text(encoding="utf-8"))["models"]
    return [
        Component(
            name=entry["id"],
            version=entry["version"],
            type=ComponentType.MACHINE_LEARNING_MODEL,
            description=entry["licence"],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry["sha256"])],
            bom_ref=f"{entry['id']}@{entry['version']}",
        )
        for entry in entries
    ]


def bill_of_materials() -> str:
    """Return the bill as JSON text, the same for the same pins and weights."""
    inputs = PINS.read_text(encoding="utf-8") + CATALOGUE.read_text(encoding="utf-8")
    components = [*library_components(PINS), *weight_components(CATALOGUE)]
    bom = Bom(components=components, serial_number=uuid5(_NAMESPACE, inputs))
    root = Component(
        name="CovidLesionSeg",
        version=__version__,
        type=ComponentType.APPLICATION,
        bom_ref="CovidLesionSeg",
    )
    bom.metadata.component = root
    bom.register_dependency(root, components)
    values = json.loads(JsonV1Dot6(bom).output_as_string())
    # The hour of writing says nothing about the content and would differ in every copy.
    del values["metadata"]["timestamp"]
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(bill_of_materials(), encoding="utf-8", newline="\n")
