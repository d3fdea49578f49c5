"""What every command of `training` does around its work."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.logging import RichHandler

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .config import TrainingConfig, load_config

_LOG = logging.getLogger("training")

Main = Callable[[Sequence[str] | None], int]


def command(main: Main) -> Callable[..., int]:
    """Decorate the main function of a command: it logs for people and ends with an exit code.

    An expected error becomes its message, its hint and its exit code, and a file or folder that
    can't be used is named; any other error keeps its traceback.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
        try:
            return main(arguments)
        except CovidLesionSegError as error:
            _LOG.error("%s %s", error.message, error.hint)
            return error.exit_code
        except OSError as error:
            if error.filename is None:
                raise
            _LOG.error("%s: %s. Check the path.", error.filename, error.strerror)
            _LOG.debug("Where this came from", exc_info=True)
            return InputError.exit_code

    return run


def read_report(path: Path, command: str, *entries: str) -> dict[str, Any]:
    """Read a JSON file that another command has written.

    Args:
        path: The file.
        command: What writes it.
        entries: What it has to hold.

    Raises:
        InputError: ``training-report-unreadable``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        absent = [name for name in entries if name not in content]
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, command, str(error)) from error
    if absent or not isinstance(content, dict):
        raise _unreadable(path, command, f"it lacks {', '.join(absent) or 'everything'}")
    return content


def _unreadable(path: Path, command: str, reason: str) -> InputError:
    return InputError(
        "training-report-unreadable",
        f"{path.name} can't be used: {reason}.",
        f"It is written by {command}.",
    )


def load_config_for(command: str, path: Path) -> TrainingConfig:
    """Read the config file that a command is to train from.

    Args:
        command: The command, as `TrainingConfig.command` names it.
        path: The file.

    Raises:
        InputError: ``training-config-invalid``, or ``training-config-of-other-command``.
    """
    config = load_config(path)
    if config.command != command:
        raise InputError(
            "training-config-of-other-command",
            f"The configuration {config.name!r} is not for this command.",
            f"Use {config.command}.",
        )
    return config
