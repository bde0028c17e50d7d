"""What texts tell of features by name, sorted by the witness whose word it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpuprobe.evidence.observation import Claims
from cpuprobe.facts.features import FeatureTable, Level


class Told:
    """The claims of an observation. Where two contradict each other the denial stands.

    Attributes:
        cpuid: feature to what is told of CPUID's word.
        os: feature to what is told of its state or of the operating system's leave.
        kernel: feature to what is told of the kernel's list.
        denied: features that a detector denies, be it for CPUID or for the operating system.
        not_levels: psABI levels that are denied as a whole.
    """

    def __init__(
        self, claims: Iterable[Claims], table: FeatureTable, of_levels: Sequence[Level]
    ) -> None:
        """Sort `claims`; names that the table does not know are left out."""
        self.cpuid: dict[str, bool] = {}
        self.os: dict[str, bool] = {}
        self.kernel: dict[str, bool] = {}
        self.denied: set[str] = set()
        self.not_levels: set[str] = set()
        self._on = 0
        self._masks_off: set[int] = set()
        levels = {level.name: level.features for level in of_levels}
        for claim in claims:
            yes = {*claim.yes, *(levels.get(claim.level, ()) if claim.level else ())}
            self._take(claim, yes & table.keys(), set(claim.no) & table.keys(), table)
            if claim.not_level in levels:
                self.not_levels.add(claim.not_level)

    def _take(self, claim: Claims, yes: set[str], no: set[str], table: FeatureTable) -> None:
        if claim.witness == "kernel":
            _add(self.kernel, yes, no)
        elif claim.witness == "cpuid":
            _add(self.cpuid, yes, no)
        elif claim.witness == "os":
            self._add_states(yes, no, table)
        else:
            # Of what needs no leave a detector's no is CPUID's; else either may have said it.
            free = {name for name in no if not table[name].asks_leave}
            _add(self.cpuid, yes, free)
            self._add_states(yes, set(), table)
            self.denied |= no - free

    def _add_states(self, yes: set[str], no: set[str], table: FeatureTable) -> None:
        _add(self.os, yes, no)
        for name in yes:
            self._on |= table[name].state
        self._masks_off |= {table[name].state for name in no if table[name].state}

    def state(self, mask: int) -> bool | None:
        """Whether all bits of a mask of register state are on; None where that does not follow."""
        if any(mask & off == off for off in self._masks_off):
            return False
        return True if mask and self._on & mask == mask else None


def _add(answers: dict[str, bool], yes: Iterable[str], no: Iterable[str]) -> None:
    for name in yes:
        answers.setdefault(name, True)
    for name in no:
        answers[name] = False
