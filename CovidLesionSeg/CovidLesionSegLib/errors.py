"""Errors that a user may see, and the cancel signal that is not one of them."""

from __future__ import annotations


class CovidLesionSegError(Exception):
    """A failure with a plain message and a way out.

    The user is shown ``message`` and ``hint``; ``code`` goes to the log, to
    scripts and to tests, and never changes once released.

    Args:
        code: Short stable identifier in kebab-case, for example ``"input-not-hu"``.
        message: What is wrong, in one sentence without jargon.
        hint: What the user can do about it; may be empty.
    """

    exit_code = 3

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.code = code
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[CovidLesionSegError], tuple[str, str, str]]:
        return type(self), (self.code, self.message, self.hint)


class InputError(CovidLesionSegError):
    """The input can't be used: wrong file, geometry, intensities or arguments."""

    exit_code = 2


class CancelledError(Exception):
    """The user asked to stop; neither a failure nor a result."""

    exit_code = 130
