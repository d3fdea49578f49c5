"""What every refusal owes its user."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.cli import main
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
    """Return the refusal of a file or folder, which also the command line gives.

    There it must end with exit code 2, tell the message and leave no output behind.
    """
    error = refused(lambda: read_ct(path), code)
    with tempfile.TemporaryDirectory() as parent, redirect_stderr(io.StringIO()) as shown:
        folder = Path(parent, "out")
        assert main(["segment", str(path), "-o", str(folder), "--quiet"]) == 2
        assert not list(Path(parent).iterdir())
    assert error.message in shown.getvalue()
    assert error.hint in shown.getvalue()
    return error
