"""What makes a check fail: which verdicts do, and whether anything does. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cpuprobe.check.allow import Stale
from cpuprobe.check.judge import Expectation, Fit
from cpuprobe.errors import UsageError, did_you_mean

# From the worst on: what is proved comes before what is feared.
ORDER: tuple[Expectation, ...] = (
    "dies",
    "refused",
    "unguarded",
    "foreign",
    "unreadable",
    "unread",
    "guarded",
    "runs",
)
"""The verdicts, the worst first."""

_FAILING: dict[str, frozenset[Expectation]] = {
    "never": frozenset(),
    "dies": frozenset({"dies", "refused", "foreign"}),
    "unguarded": frozenset({"dies", "refused", "foreign", "unguarded"}),
    "guarded": frozenset({"dies", "refused", "foreign", "unguarded", "guarded"}),
}
_FURTHER = ("unread", "stale")
DEFAULT = "unguarded"


class Gate(NamedTuple):
    """What makes a check fail.

    Attributes:
        verdicts: of a file, unless an allow-list allows all of it.
        unread: that something was of a kind that is not read.
        stale: that a row of the allow-list met nothing.
    """

    verdicts: frozenset[Expectation]
    unread: bool
    stale: bool

    def fails(self, fit: Fit) -> bool:
        """Whether one file makes the check fail."""
        if fit.expectation == "unread":
            return self.unread
        return fit.expectation in self.verdicts and not fit.allowed


def gate(words: str) -> Gate:
    """What `--fail-on` says.

    Args:
        words: with commas between: one of never, dies, unguarded and guarded, each of which takes
            in the one before; and unread, stale.

    Raises:
        UsageError: another word, or two of the first kind.
    """
    chosen = [word.strip() for word in words.split(",")]
    known = (*_FAILING, *_FURTHER)
    for word in chosen:
        if word not in known:
            hint = did_you_mean(word, known)
            raise UsageError(f"--fail-on {word}: it takes {', '.join(known)}{hint}")
    grades = [word for word in chosen if word in _FAILING]
    if len(grades) > 1:
        raise UsageError(f"--fail-on {words}: {grades[0]} and {grades[1]} are one choice")
    return Gate(_FAILING[(grades or [DEFAULT])[0]], "unread" in chosen, "stale" in chosen)


def nothing_read(fits: Sequence[Fit]) -> bool:
    """Whether no file was read, and none was refused with an error either."""
    return all(fit.needs is None and fit.error is None for fit in fits)


def exit_code(gate: Gate, fits: Sequence[Fit], stale: Sequence[Stale]) -> int:
    """What a check ends with.

    Args:
        gate: what makes it fail.
        fits: of all files.
        stale: what in an allow-list met nothing.

    Returns:
        4 where something could not be read, or nothing was; 1 where something fails; else 0.
    """
    if nothing_read(fits) or any(fit.error is not None for fit in fits):
        return 4
    return int(any(map(gate.fails, fits)) or (gate.stale and bool(stale)))
