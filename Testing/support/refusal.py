"""What every refusal owes its user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.errors import InputError


def refused(action: Callable[[], Any], code: str | None = None) -> InputError:
    """Return the refusal of an action, after a look at its exit code, message and hint."""
    with pytest.raises(InputError) as caught:
        action()
    if code is not None:
        assert caught.value.code == code
    assert caught.value.exit_code == 2
    assert caught.value.message.endswith(".")
    assert caught.value.hint.endswith(".")
    return caught.value


def refused_file(path: Path | str, code: str | None = None) -> InputError:
    """Return the refusal of a file or folder."""
    return refused(lambda: read_ct(path), code)
