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


class WeightsMismatchError(CovidLesionSegError):
    """Weights that do not fit their network; the message lists the first names of each kind.

    Args:
        label: What the weights are expected to be.
        missing: Names that the network needs and the weights lack.
        unexpected: Names of the weights that the network does not know.
        misshaped: Names in another shape, with both shapes.
    """

    _LISTED = 10

    def __init__(
        self,
        label: str,
        missing: tuple[str, ...] = (),
        unexpected: tuple[str, ...] = (),
        misshaped: tuple[str, ...] = (),
    ) -> None:
        self._label = label
        self.missing = missing
        self.unexpected = unexpected
        self.misshaped = misshaped
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshaped}
        findings = [f"{len(v)} {kind}: {self._listed(v)}" for kind, v in kinds.items() if v]
        super().__init__(
            "checkpoint-mismatch",
            f"The weights do not fit {label}: {'; '.join(findings)}.",
            "Check that the file is complete and of this network.",
        )

    def __reduce__(self) -> tuple[type[WeightsMismatchError], tuple[object, ...]]:  # type: ignore[override]
        return type(self), (self._label, self.missing, self.unexpected, self.misshaped)

    @classmethod
    def _listed(cls, names: tuple[str, ...]) -> str:
        more = f" and {len(names) - cls._LISTED} more" if len(names) > cls._LISTED else ""
        return ", ".join(names[: cls._LISTED]) + more


class InputError(CovidLesionSegError):
    """The input can't be used: wrong file, geometry, intensities or arguments."""

    exit_code = 2


class CancelledError(Exception):
    """The user asked to stop; neither a failure nor a result."""

    exit_code = 130
