"""/proc/cpuinfo: the whole file, one CPU of it, or its `flags` lines.

There is no CPUID in it: what it lists is the claim. Only the keys that the native core keeps are
taken; see `cpuprobe.evidence.observation.Cpuinfo`. Where a number stands twice with different
content, another machine's file begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.machines.dump import MAXIMUM_CPU_NUMBER, MAXIMUM_CPUS, MAXIMUM_GROUPS
from cpuprobe.evidence.machines.isa import FOREIGN_KEYS, JUDGED, isa_of_field
from cpuprobe.evidence.machines.kernel_list import (
    Incomplete,
    gather,
    gather_arm,
    is_list,
    isa_of_arm_list,
)
from cpuprobe.evidence.machines.sighting import Format, Paste, Sighting, list_of
from cpuprobe.evidence.observation import Cpuinfo, ToldIdentity

# arch/x86/kernel/cpu/proc.c
_KEPT = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags", "bugs")
# arch/arm64/kernel/cpuinfo.c
_KEPT_ARM = (
    "Features",
    "CPU implementer",
    "CPU architecture",
    "CPU variant",
    "CPU part",
    "CPU revision",
)
_ONLY_32_BIT = frozenset({"fdiv_bug", "f00f_bug", "coma_bug", "hlt_bug"})
_OF_ARM = frozenset({*_KEPT_ARM, "model name"})
_TELLING = frozenset({"flags", "vendor_id", "Features", "CPU implementer"})
# What all CPUs of a machine have in common on x86, hybrid ones included.
_WHO = ("vendor_id", "cpu family", "model name")
_MAXIMUM_VALUE = 16384
_FIELD = re.compile(r"[ \t]*([A-Za-z#][A-Za-z0-9_ #()-]{1,30}?)[ \t]*[:=](?:[ \t]+(.*)|)$")
# Nothing, or what stands for lines that somebody left out.
_GAP = re.compile(r"\W*(?:(?:snip(?:ped)?|omitted|truncated|skipped)\W*)?$", re.IGNORECASE)
_KEYS = frozenset({*_KEPT, *_KEPT_ARM, *_ONLY_32_BIT, *FOREIGN_KEYS, "processor"})


@dataclass
class _Block:
    """The fields of one CPU."""

    line: int
    number: int | None = None
    fields: dict[str, str] = field(default_factory=dict)
    incomplete: Incomplete = None
    isa: str | None = None
    rank: int | None = None  # how little the field says that `isa` is from
    end: int = 0
    follows_prose: bool = False


class _Section:
    """The CPUs of one file, those with equal content together."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.numbered = False
        self.isa: str | None = None
        self.end = line
        self._x86 = False
        self._has_flags = False
        self._who: dict[str, str] = {}
        self._kinds: dict[tuple[object, ...], list[int]] = {}
        self._kind_of: dict[int, tuple[object, ...]] = {}
        self._next = 0

    def add(self, block: _Block) -> bool:
        """Takes a CPU; False if it is of another file.

        Its number stands here already, with other content, or it is of another instruction set.
        """
        key = (block.incomplete, *sorted(block.fields.items()))
        number = self._next if block.number is None else block.number
        if number > MAXIMUM_CPU_NUMBER:
            raise CaptureError(f"no CPU has the number {number}")
        known = self._kind_of.get(number)
        if known is not None and known != key:
            return False
        second = self._has_flags and "flags" in block.fields
        apart = (second and block.follows_prose) or block.line > self.end + 2
        if block.number is None and self._kinds and apart:
            return key in self._kinds  # lines of one grep follow each other; these do not
        if not all(block.fields.get(name, told) == told for name, told in self._who.items()):
            return False
        x86 = self._x86 or "flags" in block.fields
        if x86 and "aarch64" in (self.isa, block.isa):
            return False
        self._x86, self.end = x86, block.end
        self._has_flags |= "flags" in block.fields
        if x86:
            self._who |= {name: block.fields[name] for name in _WHO if name in block.fields}
        self.numbered |= block.number is not None
        self.isa = self.isa or block.isa
        if known is None:
            self._next = max(self._next, number + 1)
            self._kind_of[number] = key
            self._kinds.setdefault(key, []).append(number)
        if len(self._kind_of) > MAXIMUM_CPUS or len(self._kinds) > MAXIMUM_GROUPS:
            raise CaptureError("more CPUs, or more kinds of them, than any machine has")
        return True

    def sighting(self) -> Sighting:
        blocks = []
        for (incomplete, *fields), cpus in self._kinds.items():
            told: dict[str, str] = dict(fields)  # type: ignore[arg-type]
            blocks.append(Cpuinfo(tuple(sorted(cpus)), told, incomplete))  # type: ignore[arg-type]
        return Sighting(
            source="proc-cpuinfo",
            line=self.line,
            isa=self.isa,
            identity=identity_of(self._who | blocks[0].fields),
            cpuinfo=_cut_ones_marked(blocks),
            numbered=self.numbered,
        )


def identity_of(fields: dict[str, str]) -> ToldIdentity:
    """Who the fields of /proc/cpuinfo say the CPU is."""

    def number(key: str) -> int | None:
        value = fields.get(key, "")
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 6 else None

    if "CPU implementer" in fields or "Features" in fields:
        return ToldIdentity(brand=" ".join(fields.get("model name", "").split())[:256] or None)
    return ToldIdentity(
        vendor=fields.get("vendor_id", "")[:256] or None,
        brand=" ".join(fields.get("model name", "").split())[:256] or None,
        family=number("cpu family"),
        model=number("model"),
        stepping=number("stepping"),
    )


def _cut_ones_marked(blocks: list[Cpuinfo]) -> tuple[Cpuinfo, ...]:
    """The blocks; a list that is the beginning of another one's breaks off."""
    lists = [list_of(block.fields).split() for block in blocks]
    longest = max(lists, key=len)
    return tuple(
        Cpuinfo(block.cpus, block.fields, "cut")
        if block.incomplete is None
        and words
        and len(words) < len(longest)
        and _is_beginning(words, longest)
        else block
        for block, words in zip(blocks, lists, strict=True)
    )


def _is_beginning(words: list[str], longest: list[str]) -> bool:
    return words == longest[: len(words)]


def _blocks(paste: Paste) -> Iterator[_Block]:
    """The CPUs in the order of the text."""
    lines = paste.lines
    block = _Block(line=0)
    number = 0
    while number < len(lines):
        line = lines[number]
        match = _FIELD.match(line) if ":" in line[:48] or "=" in line[:48] else None
        key = match[1] if match is not None else ""
        if match is None or key not in _KEYS:
            heading = match is not None and not match[2] and key != "power management"
            if heading or (match is None and not _GAP.match(line)):
                if block.fields:
                    yield block
                block = _Block(line=number, follows_prose=True)
            number += 1
            continue
        value = match[2] or ""
        begins = (key == "processor" and value.strip().isdecimal()) or key in block.fields
        if begins and block.fields.keys() != {"isa"}:  # `Processor` of ARM stands above all CPUs
            if block.fields:
                yield block
            block = _Block(line=number)
        if not block.fields and block.number is None:
            block.line = number
        number += 1
        block.end = number
        if key == "processor":
            block.number = int(value[:12]) if value.strip()[:12].isdecimal() else None
        else:
            number = _take(block, key, value, lines, number)
    if block.fields:
        yield block


def _take(block: _Block, key: str, value: str, lines: Sequence[str], number: int) -> int:
    """Takes one field; the number of the line after it."""
    if key in _ONLY_32_BIT:
        block.isa = "i686"
    rank, isa = isa_of_field(key, value)
    if isa is not None and (block.rank is None or rank < block.rank):
        block.isa, block.rank = isa, rank
        block.fields["isa"] = isa
    if key == "Features" and block.isa == "aarch64" and isa_of_arm_list(value.split()) != "arm":
        arm = gather_arm(lines, number - 1, value)
        block.fields["Features"] = " ".join(arm.words)[:_MAXIMUM_VALUE]
        block.incomplete = arm.incomplete
        block.end = arm.end
        return arm.end
    if key == "flags":
        if not is_list(value):
            return number
        found = gather(lines, number - 1, value, bits32=block.isa == "i686")
        block.fields["flags"] = " ".join(found.words)[:_MAXIMUM_VALUE]
        block.incomplete = found.incomplete
        if block.isa == "i686" and _is_of_zone(block, lines[number - 2] if number > 1 else ""):
            block.isa, block.incomplete = None, "foreign"
        block.end = found.end
        return found.end
    if (
        key in (*_KEPT, *_KEPT_ARM)
        and key != "Features"
        and value.strip()
        and len(value) <= _MAXIMUM_VALUE
    ):
        block.fields[key] = value.strip()
    return number


def _is_of_zone(block: _Block, above: str) -> bool:
    """Whether an lx zone of illumos wrote the file: CPUID's names, and fields of 32-bit Linux.

    It leaves out `wp`, which Linux has between `cpuid level` and `flags`; and a 32-bit kernel sees
    no `syscall` on Intel (SDM, CPUID.80000001H:EDX[11]).
    """
    words = block.fields["flags"].split()
    intel = block.fields.get("vendor_id") == "GenuineIntel"
    return above.startswith("cpuid level") or (intel and "syscall" in words)


def _read(paste: Paste) -> Iterator[Sighting]:
    section: _Section | None = None
    for block in _blocks(paste):
        isa = block.fields.pop("isa", None)
        if isa is not None and isa not in JUDGED:
            brand = block.fields.get("model name") or _brand_nearby(paste, block)
            yield Sighting(
                source="proc-cpuinfo",
                line=block.line,
                isa=_endian(paste, isa),
                identity=ToldIdentity(brand=brand[:256]) if brand else None,
            )
            return
        if block.isa == "aarch64":
            block.fields = {k: v for k, v in block.fields.items() if k in _OF_ARM}
        if not block.fields.keys() & _TELLING:
            continue
        if section is None:
            section = _Section(block.line)
        if not section.add(block):
            yield section.sighting()
            section = _Section(block.line)
            section.add(block)
    if section is not None:
        yield section.sighting()


def _brand_nearby(paste: Paste, block: _Block) -> str | None:
    for line in paste.lines[block.line : block.line + 200]:
        match = _FIELD.match(line)
        if match and match[1] in ("cpu", "cpu model", "Hardware", "Model", "Model Name", "uarch"):
            return (match[2] or "").strip() or None
    return None


def _endian(paste: Paste, isa: str) -> str:
    """POWER's file does not tell the byte order; a word elsewhere in the text may."""
    return "ppc64le" if isa == "ppc64" and re.search(r"ppc64(?:le|el)", paste.text) else isa


FORMAT = Format(
    title="/proc/cpuinfo, whole, in part, or its flags lines",
    carries="the kernel's list of flags, whole where it shows no sign of a cut; who the CPU is",
    evidence="kernel",
    make="cat /proc/cpuinfo",
    read=_read,
)
