"""What every command of `training` does around its work."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.logging import RichHandler

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .config import TrainingConfig, load_config

_LOG = logging.getLogger("training")

Main = Callable[[Sequence[str] | None], int]


def command(main: Main) -> Callable[..., int]:
    """Decorate the main function of a command: it logs for people and ends with an exit code.

    An expected error becomes its message, its hint and its exit code; any other one keeps its
    traceback.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
        try:
            return main(arguments)
        except CovidLesionSegError as error:
            _LOG.error("%s %s", error.message, error.hint)
            return error.exit_code

    return run


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
