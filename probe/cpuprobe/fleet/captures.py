"""The machines of captures, one after the other, and what there was that could not be read."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.fleet.machine import Facts
from cpuprobe.fleet.model import Skipped
from cpuprobe.fleet.reading import REMEMBERED, read
from cpuprobe.fleet.sources import Argument, Reading
from cpuprobe.fleet.tally import Tally, UnknownKey
from cpuprobe.fleet.weights import Weights

NAMED = 100
"""How many captures that could not be read are named."""


class Feedback(msgspec.Struct):
    """How a long run tells of itself.

    Attributes:
        start: called once with what is read, before reading.
        progress: called with the number of captures that are done.
        complain: called with each capture that could not be read.
        counted: called with the counts.
    """

    start: Callable[[Reading], None] = lambda reading: None
    progress: Callable[[int], None] = lambda machines: None
    complain: Callable[[Skipped], None] = lambda skipped: None
    counted: Callable[[Tally], None] = lambda tally: None


class Reads(msgspec.Struct, kw_only=True):
    """How captures are read.

    Attributes:
        wasmtime: the version that the flags are for; None for that of `target_version`.
        weights: the user's own, if any.
        processes: how many may work at once.
        strict: whether the first capture that cannot be read ends it all.
        remembered: see `reading.read`.
    """

    wasmtime: str | None = None
    weights: Weights | None = None
    processes: int = 1
    strict: bool = False
    remembered: int = REMEMBERED


class Captures:
    """The machines of captures, and what could not be read of them."""

    def __init__(
        self, arguments: Sequence[Argument], version: str, how: Reads, feedback: Feedback
    ) -> None:
        """Nothing is read before `machines` is asked."""
        self._reading = Reading(arguments)
        self._version, self._how, self._feedback = version, how, feedback
        self.skipped: list[Skipped] = []
        self.unread = 0
        self.kinds: Counter[str] = Counter()
        self.unknown: Counter[UnknownKey] = Counter()

    def machines(self) -> Iterator[tuple[str, Decimal, Facts]]:
        """Label, weight and facts of each.

        Raises:
            CaptureError: not one could be read, or with `strict` one could not.
            CannotMeasureError: a process was killed.
        """
        self._feedback.start(self._reading)
        how, weights = self._how, self._how.weights or Weights({})
        found = read(
            self._reading.pieces(),
            self._version,
            how.processes,
            how.remembered,
            self._reading.give_up,
        )
        done = 0
        with contextlib.closing(found) as rows:
            for done, row in enumerate(rows, 1):
                if isinstance(row, Skipped):
                    self._skip(row)
                else:
                    machine, facts = row
                    weight = weights.of(machine.label, machine.weight, facts.model)
                    yield machine.label, weight, facts
                self._feedback.progress(done)
        if self.unread == done:  # what is in no table is counted in the end
            raise CaptureError(self._nothing())

    def _skip(self, skipped: Skipped) -> None:
        match skipped.kind:
            case "isa" | "identity" as kind:
                self.unknown[UnknownKey(kind, skipped.what)] += 1
                return
        if self._how.strict:
            raise CaptureError(f"{skipped.capture}: {skipped.why}")
        self.unread += 1
        self.kinds[skipped.kind] += 1
        if len(self.skipped) < NAMED:
            self.skipped.append(skipped)
        self._feedback.complain(skipped)

    def _nothing(self) -> str:
        if not self.skipped:
            return "no captures there"
        first = f"{self.skipped[0].capture}: {self.skipped[0].why}"
        if self.unread == 1:
            return first
        return f"none of {self.unread:,} captures could be read; the first: {first}"
