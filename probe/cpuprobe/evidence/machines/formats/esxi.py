"""VMware ESXi: `vim-cmd hostsvc/hosthardware` prints the host's CPUID, a bit a digit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpuprobe.evidence.machines.dump import CpuDump, dump_sightings
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting

_LEVEL = re.compile(r"^\s*level = (-?\d{1,10}),?\s*$")
_REGISTER = re.compile(r"^\s*e([abcd])x = \"((?:[01]{4}:){7}[01]{4})\",?\s*$")


class _Reader:
    """Reads a leaf whose registers stand a line each."""

    def __init__(self) -> None:
        """A reader that has seen no leaf."""
        self.dump = CpuDump()
        self._leaf: int | None = None
        self._registers: dict[str, int] = {}

    def take(self, line: str, number: int) -> bool:
        """Whether line `number` belongs to a leaf."""
        level = _LEVEL.match(line)
        if level is not None:
            self._leaf, self._registers = int(level[1]) & 0xFFFFFFFF, {}
            return True
        register = _REGISTER.match(line)
        if register is None or self._leaf is None:
            return False
        self._registers[register[1]] = int(register[2].replace(":", ""), 2)
        if len(self._registers) == len("abcd"):
            eax, ebx, ecx, edx = (self._registers[name] for name in "abcd")
            if not self.dump.has(self._leaf):
                self.dump.add(self._leaf, 0, (eax, ebx, ecx, edx), number)
            self._leaf = None
        return True


def _read(paste: Paste) -> Iterator[Sighting]:
    return dump_sightings("esxi", _Reader(), paste)


FORMAT = Format(
    title="VMware ESXi: the cpuFeature of vim-cmd",
    carries="CPUID of the host, all that stands in it; no XCR0; guests may see less",
    evidence="cpuid",
    make="vim-cmd hostsvc/hosthardware",
    read=_read,
)
