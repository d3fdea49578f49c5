"""What a value of a configuration may be: its type, and its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from CovidLesionSegLib.errors import InputError


def invalid(reason: str) -> InputError:
    """Return the error of a configuration that can't be used."""
    return InputError(
        "training-config-invalid",
        f"The training configuration can't be used: {reason}.",
        "Compare it with the files in training/configs.",
    )


def check_types(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Refuse entries that a section does not have, or of another type than its defaults.

    A whole number does for any number; a default of None or of an empty list says nothing.

    Args:
        kind: The section, a dataclass of which every field has a default.
        values: What a file says.

    Raises:
        InputError: ``training-config-invalid``.
    """
    if not isinstance(values, Mapping):
        raise invalid(f"{kind.__name__} is {values!r}, no section")
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise invalid(f"{kind.__name__} has no {', '.join(unknown)}")
    for name, value in values.items():
        if not _fits(value, fields[name]):
            raise invalid(f"{name} is {value!r}, where {fields[name]!r} would do")


def _fits(value: object, like: object) -> bool:
    if like is None:
        return True
    if isinstance(like, tuple):
        entries = list(value) if isinstance(value, list | tuple) else None
        return entries is not None and (not like or all(_fits(v, like[0]) for v in entries))
    if isinstance(like, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(like, bool)
    return isinstance(value, int | float if isinstance(like, float) else type(like))


def check_share(section: object, *names: str) -> None:
    """Refuse values that are no share or probability, 0 to 1.

    Raises:
        InputError: ``training-config-invalid``.
    """
    for name in names:
        value = getattr(section, name)
        if not 0.0 <= value <= 1.0:
            raise invalid(f"{name} is {value!r}, and not within 0 and 1")


def check_least(section: object, least: float, *names: str) -> None:
    """Refuse values below a bound.

    Raises:
        InputError: ``training-config-invalid``.
    """
    for name in names:
        value = getattr(section, name)
        if not value >= least:
            raise invalid(f"{name} is {value!r}, and at least {least:g} is needed")
