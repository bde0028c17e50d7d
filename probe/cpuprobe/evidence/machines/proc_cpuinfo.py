"""/proc/cpuinfo: the whole file, one CPU of it, or only a `flags` line.

There is no CPUID in it: what it lists is the claim. Only the keys that the native core keeps are
taken; see `cpuprobe.evidence.observation.Cpuinfo`.
"""

from __future__ import annotations

import re
from functools import cache

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.dump import MAXIMUM_CPU_NUMBER, MAXIMUM_CPUS, MAXIMUM_GROUPS
from cpuprobe.evidence.observation import Cpuinfo
from cpuprobe.facts.features import load_features, load_table

_MAXIMUM_VALUE = 16384
_FIELD = re.compile(r"(?:/proc/cpuinfo:)?([A-Za-z_ ]{4,15}?)[ \t]{0,8}:(?:[ \t]+(.*))?$")


@cache
def _keys() -> frozenset[str]:
    """The lines that may be taken, those of profiles/kernel.toml."""
    return frozenset(load_table("kernel")["cpuinfo"]["keys"])


@cache
def _foreign() -> frozenset[str]:
    """Keys of ARM's, by which a foreign file shows.

    Other programs print a line "Features:" too; in this file it follows a "processor".
    """
    return frozenset(load_table("kernel")["cpuinfo"]["foreign"])


class ProcCpuinfoReader:
    """Reads the lines of /proc/cpuinfo."""

    kind = "proc-cpuinfo"

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self._number: int | None = None
        self._fields: dict[str, str] = {}
        self._next = 0
        self._blocks: dict[tuple[tuple[str, str], ...], int] = {}
        self._cpus: list[list[int]] = []
        self._block_of: dict[int, int] = {}
        self.numbered = False

    def take(self, line: str) -> bool:
        """Whether the line is a field of this file."""
        match = _FIELD.match(line) if ":" in line[:32] else None
        if match is None:
            return False
        key, value = match[1], (match[2] or "").strip()
        if key == "processor" and value.isdecimal():
            self._end_block()
            self._number = int(value[:12])
            return True
        if key not in _keys() or len(value) > _MAXIMUM_VALUE:
            return False
        if key == "flags" and not known_flags(value):
            return False
        if key in _foreign() and self._number is None:
            return False
        if key in self._fields:
            self._end_block()
        self._fields[key] = value
        return True

    def _end_block(self) -> None:
        number, self._number = self._number, None
        fields, self._fields = self._fields, {}
        if not fields:
            return
        if number is None:
            number = self._next
        else:
            self.numbered = True
        if number > MAXIMUM_CPU_NUMBER:
            raise CaptureError(f"no CPU has the number {number}")
        key = tuple(sorted(fields.items()))
        known = self._block_of.get(number)
        if known is not None:
            if known != self._blocks.get(key):
                raise CaptureError(
                    f"processor {number} stands twice, with different content: two machines in one"
                    " capture?"
                )
            return
        self._next = max(self._next, number + 1)
        place = self._blocks.setdefault(key, len(self._blocks))
        if place == len(self._cpus):
            self._cpus.append([])
        self._cpus[place].append(number)
        self._block_of[number] = place
        if len(self._block_of) > MAXIMUM_CPUS or len(self._blocks) > MAXIMUM_GROUPS:
            raise CaptureError("more CPUs, or more kinds of them, than any machine has")

    def blocks(self) -> tuple[Cpuinfo, ...]:
        """The CPUs, those with equal content together; empty if this is no /proc/cpuinfo."""
        self._end_block()
        blocks = tuple(
            Cpuinfo(cpus=tuple(sorted(self._cpus[place])), fields=dict(key))
            for key, place in self._blocks.items()
        )
        telling = ("flags", "Features", "vendor_id")
        return tuple(block for block in blocks if any(key in block.fields for key in telling))


def known_flags(text: str) -> bool:
    """Whether a list of words holds the kernel's name of any feature of the table."""
    return not _kernel_names().isdisjoint(text.split())


def _kernel_names() -> frozenset[str]:
    names = (feature.kernel.flag for feature in load_features().values())
    return frozenset(name for name in names if name is not None)
