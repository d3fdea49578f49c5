"""The command ``covid-lesion-seg``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from .commands import batch, benchmark, classes, demo, export, models, phantom, segment
from .engine.memory import memory_told
from .errors import CancelledError, CovidLesionSegError
from .version import __version__

_LOG = logging.getLogger(__name__)
_COMMANDS = (segment, batch, export, classes, demo, phantom, models, benchmark)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="covid-lesion-seg",
        description="COVID-19 lesion segmentation in chest CT. For research use; "
        "not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the details of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        0 when all went well, 2 for an input that can't be used, 3 for a failed run, 130
        when interrupted.
    """
    args = build_parser().parse_args(argv)
    # What a user needs to know is printed; the log is for whoever looks for a fault.
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.CRITICAL)
    # A batch system's time-out or a closed terminal is an interrupt: clean up, leave nothing.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with memory_told():
            return int(args.func(args))
    except CovidLesionSegError as error:
        _LOG.debug("%s", error.code, exc_info=True)
        _complain(f"Error: {error.message}", error.hint)
        return error.exit_code
    except (CancelledError, KeyboardInterrupt):
        _complain("Interrupted; nothing was written.", "")
        return CancelledError.exit_code
    except Exception as error:  # the last line of defence: no traceback for a user
        if args.debug:
            raise
        reason = f"{type(error).__name__}: {error}"
        _complain(
            f"Error: the run failed ({reason}).",
            "This is a fault of the program. Run it again with --debug before the command "
            "and report what it prints.",
        )
        return CovidLesionSegError.exit_code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(message: str, hint: str) -> None:
    sys.stderr.write(f"{message}\n")
    if hint:
        sys.stderr.write(f"{hint}\n")


if __name__ == "__main__":
    sys.exit(main())
