"""`lscpu` of util-linux, as text and as JSON (`lscpu -J`), in any language.

Its flags are those of one CPU in /proc/cpuinfo, and its other fields are renamed ones of that file,
so that what comes out is a `Cpuinfo`. Newer versions indent, or nest, what belongs together. What
its fields are called stands in profiles/lscpu.toml; the flags show by their own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.dump import MAXIMUM_CPU_NUMBER, MAXIMUM_CPUS
from cpuprobe.evidence.machines.formats.kernel_words import VULNERABILITIES
from cpuprobe.evidence.machines.formats.proc_cpuinfo import identity_of
from cpuprobe.evidence.machines.isa import X86, isa_named, isa_of_list
from cpuprobe.evidence.machines.kernel_list import gather, gather_arm, is_list, isa_of_arm_list
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity
from cpuprobe.facts.arm_cpus import part_named
from cpuprobe.facts.tables import load_table

_LINE = re.compile(r"[ \t]*([^\s:|][^:|]{1,60}?)[ \t]*:(?:[ \t]+(.*)|[ \t]*)$")
_MAXIMUM_VALUE = 16384
# A form asks for these too ("Architecture: x64", "Model: ThinkPad"): alone they are no lscpu.
_ASKED_IN_FORMS = frozenset({"architecture", "model", "model name", "cpus"})
# Whoever made a device on PCI or USB (system_profiler): no maker of CPUs.
_DEVICE = re.compile(r"0x[0-9a-fA-F]{3,4}\b")
_BEGINS = frozenset({"architecture", "vendor_id", "flags"})


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
            yield entry.field.rstrip(": \u00a0\uff1a"), (entry.data or "").strip()
            waiting.extend(reversed(entry.children))


@cache
def _labels() -> dict[str, str]:
    return {
        label: key for key, row in load_table("lscpu").items() for label in reversed(row["labels"])
    }


class _Machine:
    """The fields of one run of lscpu."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.fields: dict[str, str] = {}
        self.vulnerabilities: dict[str, str] = {}
        self.flags: Cpuinfo | None = None

    def begins_again(self, key: str, value: str) -> bool:
        """Whether a field shows that another run has begun."""
        known = self.fields.get(key)
        return known is not None and key in _BEGINS and (known != value or key == "architecture")

    def sighting(self, source: str) -> Sighting | None:
        """What was seen; None if these lines were no lscpu."""
        fields = self.fields
        if not (self.vulnerabilities or fields.keys() - _ASKED_IN_FORMS):
            if "architecture" not in fields:
                return None
            isa = isa_named(fields["architecture"])
            return Sighting(source=source, line=self.line, isa=isa, weak=True) if isa else None
        isa = isa_named(fields["architecture"]) if "architecture" in fields else None
        kept = {
            key: fields[key]
            for key in ("vendor_id", "model name", "cpu family", "model", "stepping", "flags")
            if fields.get(key)
        }
        arm = isa_of_arm_list(kept.get("flags", "").split())
        if arm == "aarch64" and isa in (None, "aarch64") and "asimd" in kept["flags"].split():
            return self._of_arm(source, kept)
        if arm is not None and (isa is None or isa in X86):
            isa = arm
        if isa is not None and isa not in X86:
            brand = kept.get("model name")
            identity = ToldIdentity(brand=brand[:256]) if brand else None
            return Sighting(source=source, line=self.line, isa=isa, identity=identity)
        block: tuple[Cpuinfo, ...] = ()
        if "flags" in kept and self.flags is not None:
            block = (Cpuinfo(self._cpus(), kept, self.flags.incomplete),)
        hypervisor = fields.get("hypervisor", "")[:256] or None
        return Sighting(
            source=source,
            line=self.line,
            isa=isa,
            identity=msgspec.structs.replace(identity_of(kept), hypervisor=hypervisor),
            cpuinfo=block,
            numbered=bool(block),
            vulnerabilities=self.vulnerabilities,
        )

    def _of_arm(self, source: str, kept: dict[str, str]) -> Sighting:
        """An aarch64 machine: lscpu names maker and core, whose numbers tell the same."""
        fields = {"Features": kept["flags"]}
        brand, vendor = kept.get("model name"), kept.get("vendor_id")
        brand = None if brand == "-" else brand  # a part that it has no name for
        part = part_named(vendor or "", brand or "")
        if part is not None:
            fields |= {"CPU implementer": f"0x{part[0]:02x}", "CPU part": f"0x{part[1]:03x}"}
        incomplete = None if self.flags is None else self.flags.incomplete
        return Sighting(
            source=source,
            line=self.line,
            isa="aarch64",
            identity=ToldIdentity(
                vendor=vendor and vendor[:256],
                brand=brand and brand[:256],
                hypervisor=self.fields.get("hypervisor", "")[:256] or None,
            ),
            cpuinfo=(Cpuinfo(self._cpus(), fields, incomplete),),
            numbered=True,
            vulnerabilities=self.vulnerabilities,
        )

    def _cpus(self) -> tuple[int, ...]:
        online = self.fields.get("online")
        if online:
            return parse_cpu_list(online)
        count = self.fields.get("cpus", "")
        return tuple(range(min(int(count[:9]), MAXIMUM_CPUS))) if count.isdecimal() else (0,)


def _vulnerability(label: str, value: str) -> tuple[str, str] | None:
    """A row on a vulnerability, in whatever language: its name stands last in the label."""
    words = label.split()
    for start in range(min(len(words), 3)):
        name = "_".join(words[start:]).lower()
        if name in VULNERABILITIES and words[start][0].isupper():  # else a file of sysfs
            # lscpu has a semicolon where the kernel has the colon after "Mitigation".
            if value.startswith("Mitigation;"):
                value = value.replace(";", ":", 1)
            return name, value[:256]
    return None


def _key(label: str, value: str, among_fields: bool) -> str | None:
    """The field that a label names; among others flags show by their words, whatever the label.

    `flags` is what /proc/cpuinfo calls them.
    """
    key = _labels().get(label)
    if key == "flags" or (key is None and among_fields and label != "flags"):
        return "flags" if value and is_list(value) else None
    return key


def _is_arm_list(label: str, value: str) -> bool:
    return _labels().get(label) == "flags" and isa_of_arm_list(value.split()) is not None


def _read(paste: Paste) -> Iterator[Sighting]:
    lines = paste.lines
    machine = _Machine(0)
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        match = _LINE.match(line) if ":" in line[:70] else None
        if match is None:
            continue
        label, value = match[1].rstrip("\u00a0 "), match[2] or ""
        row = _vulnerability(label, value.strip()) if value else None
        if row is not None:
            machine.vulnerabilities.setdefault(*row)
            continue
        key = _key(label, value, bool(machine.fields))
        if key is None and (isa := isa_of_list(value.split())) is not None:
            machine.fields.setdefault("architecture", isa)
        if key == "vendor_id" and _DEVICE.match(value) is not None:
            continue
        arm = key is None and _is_arm_list(label, value)
        if arm:
            key = "flags"
        if key is None or not value.strip() or len(value) > _MAXIMUM_VALUE:
            continue
        if machine.begins_again(key, value.strip()):
            if (seen := machine.sighting("lscpu")) is not None:
                yield seen
            machine = _Machine(number - 1)
        if not machine.fields:
            machine.line = number - 1
        if key == "flags":
            number = _take_flags(machine, lines, number, value, arm=arm)
        else:
            if key == "model name":
                value, number = _whole(match.start(2), value, lines, number)
            # Hybrid machines: the fields of the second kind of core follow.
            machine.fields.setdefault(key, value.strip())
    if (seen := machine.sighting("lscpu")) is not None:
        yield seen


def _whole(column: int, value: str, lines: Sequence[str], number: int) -> tuple[str, int]:
    """A value whose end a terminal put on the next line, at the column where values begin."""
    rest = lines[number] if number < len(lines) else ""
    if column < 12 or ":" in rest or not rest.strip() or rest[:column].strip():
        return value, number
    return value + rest[column:], number + 1


def _take_flags(
    machine: _Machine, lines: Sequence[str], number: int, value: str, *, arm: bool = False
) -> int:
    bits32 = isa_named(machine.fields.get("architecture", "")) == "i686"
    if arm:
        found = gather_arm(lines, number - 1, value)
    else:
        found = gather(lines, number - 1, value, bits32=bits32)
    words = " ".join(found.words)[:_MAXIMUM_VALUE]
    if machine.fields.setdefault("flags", words) == words:
        machine.flags = Cpuinfo((0,), {}, found.incomplete)
    return found.end


def _read_document(document: Any) -> Iterator[Sighting]:
    if not (isinstance(document, dict) and "lscpu" in document):
        return
    try:
        listing = msgspec.convert(document, Listing)
    except msgspec.ValidationError as error:
        raise CaptureError(f"not the output of lscpu -J: {error}") from None
    machine = _Machine(0)
    for label, value in listing.entries():
        row = _vulnerability(label, value)
        if row is not None:
            machine.vulnerabilities.setdefault(*row)
        elif (key := _key(label, value, True)) == "flags":
            _take_flags(machine, [value], 1, value)
        elif key is not None and len(value) <= _MAXIMUM_VALUE:
            machine.fields.setdefault(key, value)
        elif _is_arm_list(label, value):
            _take_flags(machine, [value], 1, value, arm=True)
    if (seen := machine.sighting("lscpu-json")) is not None:
        yield seen


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


FORMAT = Format(
    title="lscpu, as text and as JSON, in any language",
    carries="the kernel's list of flags, whole where it shows no sign of a cut; who the CPU is; "
    "vulnerabilities",
    evidence="kernel",
    make="lscpu | cat",
    read=_read,
    read_document=_read_document,
)
