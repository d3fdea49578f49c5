"""The command ``covid-lesion-seg``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from .commands import batch, benchmark, classes, demo, export, models, phantom, segment
from .engine.memory import memory_told
from .errors import CancelledError, CovidLesionSegError
from .version import __version__

_LOG = logging.getLogger(__name__)
_PIPE_CLOSED = 141
"""As shells tell a program that SIGPIPE ended."""

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
        when interrupted, 141 when nobody reads the output any more.
    """
    args = build_parser().parse_args(argv)
    # What a user needs to know is printed; the log is for whoever looks for a fault.
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.CRITICAL)
    _end_cleanly()
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
    except BrokenPipeError:  # whoever read our output has seen enough (``| head``)
        _close_standard_output()
        return _PIPE_CLOSED
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


def _end_cleanly() -> None:
    """Take a batch system's time-out and a closed terminal as an interrupt: leave nothing.

    Under ``nohup``, which ignores the closing of the terminal, it stays ignored.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, _interrupt)


def _close_standard_output() -> None:
    """Let what is still to be flushed at the end go nowhere, instead of failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(message: str, hint: str) -> None:
    with suppress(OSError):  # the terminal may have gone
        sys.stderr.write(f"{message}\n")
        if hint:
            sys.stderr.write(f"{hint}\n")


if __name__ == "__main__":
    sys.exit(main())
