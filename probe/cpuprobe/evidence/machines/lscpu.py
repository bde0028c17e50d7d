"""`lscpu` of util-linux, as text and as JSON (`lscpu -J`).

Its flags are those of one CPU in /proc/cpuinfo, and its other fields are renamed ones of that file,
so that what comes out is a `Cpuinfo`. Newer versions indent, or nest, what belongs together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.dump import MAXIMUM_CPU_NUMBER, MAXIMUM_CPUS
from cpuprobe.evidence.machines.kernel_words import VULNERABILITIES
from cpuprobe.evidence.machines.proc_cpuinfo import known_flags
from cpuprobe.evidence.observation import Cpuinfo

# lscpu's name -> that of /proc/cpuinfo.
_FIELDS = {
    "Vendor ID": "vendor_id",
    "Model name": "model name",
    "CPU family": "cpu family",
    "Model": "model",
    "Stepping": "stepping",
    "Flags": "flags",
}
_OTHERS = ("Architecture", "CPU(s)", "On-line CPU(s) list")
_LINE = re.compile(r"([A-Z][A-Za-z0-9()/ -]{1,60}):(?:[ \t]+(.*))?$")
_MAXIMUM_VALUE = 16384


class Entry(msgspec.Struct, frozen=True):
    """One field of `lscpu -J`, with the fields nested below it (util-linux 2.37)."""

    field: str
    data: str | None = None
    children: tuple[Entry, ...] = ()


class Listing(msgspec.Struct, frozen=True):
    """The document that `lscpu -J` prints."""

    lscpu: tuple[Entry, ...]

    def entries(self) -> Iterator[tuple[str, str]]:
        """All fields with their values, from the outside in."""
        waiting = list(reversed(self.lscpu))
        while waiting:
            entry = waiting.pop()
            yield entry.field.removesuffix(":").strip(), (entry.data or "").strip()
            waiting.extend(reversed(entry.children))


class LscpuReader:
    """Reads fields of lscpu, from lines or from JSON."""

    kind = "lscpu"

    def __init__(self) -> None:
        """A reader that has seen nothing."""
        self._fields: dict[str, str] = {}
        self.vulnerabilities: dict[str, str] = {}

    def take(self, line: str) -> bool:
        """Whether the line is a field of lscpu."""
        match = _LINE.match(line) if ":" in line[:64] else None
        return match is not None and self.field(match[1], (match[2] or "").strip())

    def read_json(self, document: Listing) -> None:
        """Takes all fields of `lscpu -J`."""
        self.kind = "lscpu-json"
        for name, value in document.entries():
            self.field(name, value)

    def field(self, name: str, value: str) -> bool:
        """Takes one field; whether lscpu has it and it is of use here."""
        if len(value) > _MAXIMUM_VALUE:
            return False
        sysfs_name = name.removeprefix("Vulnerability ").lower().replace(" ", "_")
        if sysfs_name in VULNERABILITIES:
            # lscpu has a semicolon where the kernel has the colon after "Mitigation".
            if value.startswith("Mitigation;"):
                value = value.replace(";", ":", 1)
            self.vulnerabilities.setdefault(sysfs_name, value[:256])
            return True
        if name not in _OTHERS and (name not in _FIELDS or (name == "Flags" and not value)):
            return False
        # Hybrid machines: the fields of the second kind of core follow; flags are listed once.
        self._fields.setdefault(name, value)
        return True

    def blocks(self) -> tuple[Cpuinfo, ...]:
        """What /proc/cpuinfo would say; empty if this is no output of lscpu."""
        architecture = self._fields.get("Architecture")
        flags = self._fields.get("Flags")
        if flags is None or (architecture is None and not known_flags(flags)):
            return ()
        fields = {
            key: self._fields[name] for name, key in _FIELDS.items() if self._fields.get(name)
        }
        if architecture is not None and not re.match(r"x86_64|i[3-6]86", architecture):
            # The names mean other things there ("aes"); ARM's own name shows whose list it is.
            fields["Features"] = fields.pop("flags")
        return (Cpuinfo(cpus=self._cpus(), fields=fields),)

    def _cpus(self) -> tuple[int, ...]:
        online = self._fields.get("On-line CPU(s) list")
        if online:
            return parse_cpu_list(online)
        count = self._fields.get("CPU(s)", "")
        return tuple(range(min(int(count[:9]), MAXIMUM_CPUS))) if count.isdecimal() else (0,)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The numbers of a list in the kernel's notation, `0-3,8`, ascending.

    Raises:
        CaptureError: it is no such list, or has more than 65,536 CPUs.
    """
    numbers: set[int] = set()
    for part in text.split(",", MAXIMUM_CPUS):
        match = re.match(r"[ \t]{0,4}(\d{1,8})(?:-(\d{1,8}))?[ \t]{0,4}$", part)
        if match is None:
            raise CaptureError(f"{text[:60]!r} is no list of CPUs")
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high <= min(MAXIMUM_CPU_NUMBER, low + MAXIMUM_CPUS):
            raise CaptureError(f"{part[:60]!r} is no range of CPUs")
        numbers.update(range(low, high + 1))
        if len(numbers) > MAXIMUM_CPUS:
            raise CaptureError(f"more than {MAXIMUM_CPUS:,} CPUs")
    return tuple(sorted(numbers))
