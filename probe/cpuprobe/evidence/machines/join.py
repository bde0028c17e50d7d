"""From what the formats saw in one text to the machines that it is about.

A paste often holds several things about the same machine: `cpuid -r`, lscpu, a part of sysfs. They
are one machine's as long as nothing that they say of its identity differs. What contradicts that
is another machine's; two kernels' lists of one CPU that differ are, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cpuprobe.errors import CaptureError
from cpuprobe.evidence.cpuid import Cpuid
from cpuprobe.evidence.machines.isa import X86
from cpuprobe.evidence.machines.kernel_list import arm_words, judge, linux_words
from cpuprobe.evidence.machines.sighting import Sighting, list_of
from cpuprobe.evidence.observation import (
    Claims,
    CpuGroup,
    Cpuinfo,
    Kernel,
    Observation,
    ToldIdentity,
)
from cpuprobe.evidence.presentable import presentable
from cpuprobe.words import plain

MAXIMUM_SIGHTINGS = 256  # of one text; a hypervisor's log has a dozen
_VENDORS = ("intel", "amd", "hygon", "centaur", "via", "shanghai", "zhaoxin", "transmeta")
_SPELT = {"intel": "GenuineIntel", "hygon": "HygonGenuine", "amd": "AuthenticAMD"}
_NOISE = re.compile(
    r"\((?:r|tm|c)\)|@.*|\b(?:cpu|processor|apu|with radeon.*|\w+-core|eng sample.*|0)\b"
)
UNNAMED = "a CPU that it does not name"
_IN_BOTH = 3
_FOREIGN_KERNEL = re.compile(r"-Microsoft$|BrandZ", re.IGNORECASE)
_TOLD = ("vendor", "brand", "family", "model", "stepping", "microcode", "hypervisor")


def who(sighting: Sighting) -> ToldIdentity:
    """Who a sighting says its CPU is: by CPUID where it has some."""
    if not sighting.groups:
        return sighting.identity or ToldIdentity()
    first = min(sighting.groups, key=lambda group: min(group.cpus))
    return Cpuid(first.cpuid).identity


def words_of(identity: ToldIdentity, isa: str | None = None) -> str:
    """An identity as people call it."""
    parts = [plain(identity.brand or identity.vendor or "")[:100]]
    if identity.family is not None and identity.model is not None:
        parts.append(f"family {identity.family}, model {identity.model}")
    if isa is not None and isa not in X86:
        parts.insert(0, isa)
    return ", ".join(part for part in parts if part) or UNNAMED


def agree(one: ToldIdentity, other: ToldIdentity) -> bool:
    """Whether nothing known of two identities differs."""
    for key in ("family", "model", "stepping"):
        a, b = getattr(one, key), getattr(other, key)
        if a is not None and b is not None and a != b:
            return False
    return _same_vendor(one.vendor, other.vendor) and _same_brand(one.brand, other.brand)


def _same_vendor(one: str | None, other: str | None) -> bool:
    a, b = (
        next((name for name in _VENDORS if name in (each or "").lower()), each)
        for each in (one, other)
    )
    return not a or not b or a == b


def _same_brand(one: str | None, other: str | None) -> bool:
    a, b = (
        frozenset(re.findall(r"[a-z0-9][\w.-]*", _NOISE.sub(" ", (each or "").lower())))
        for each in (one, other)
    )
    return not a or not b or a <= b or b <= a


class Machine:
    """The sightings of one machine."""

    def __init__(self, first: Sighting) -> None:
        """A machine of which one thing was seen."""
        self.sightings = [first]
        self.identity = who(first)
        self.isa = first.isa

    @property
    def line(self) -> int:
        """Where its first sighting begins."""
        return min(each.line for each in self.sightings)

    def is_also(self, sighting: Sighting) -> bool:
        """Whether a sighting can be of this machine."""
        foreign = {
            each for each in (self.isa, sighting.isa) if each is not None and each not in X86
        }
        x86 = any(each.shows_x86 for each in (*self.sightings, sighting))
        untold = None in (self.isa, sighting.isa) and foreign == {"aarch64"} and not x86
        if len(foreign) > 1 or (foreign and self.isa != sighting.isa and not untold):
            return False
        return agree(self.identity, who(sighting)) and all(
            _compatible(each, sighting) for each in self.sightings
        )

    def add(self, sighting: Sighting) -> None:
        """Takes a sighting of this machine."""
        self.sightings.append(sighting)
        seen = who(sighting)
        told = {key: getattr(self.identity, key) for key in _TOLD}
        more = {key: getattr(seen, key) for key, value in told.items() if value is None}
        self.identity = ToldIdentity(**{**told, **more})
        if sighting.isa is not None and (self.isa is None or sighting.isa == "i686"):
            self.isa = sighting.isa

    @property
    def tells_features(self) -> bool:
        """Whether there is evidence on any feature of it."""
        return any(each.tells_features for each in self.sightings)

    def observation(self) -> Observation:
        """All of it as one observation.

        Raises:
            CaptureError: it breaks a rule of the type.
        """
        try:
            return presentable(self._observation())
        except ValueError as error:  # what `Observation` refuses
            raise CaptureError(str(error)) from None

    def _observation(self) -> Observation:
        sightings = self.sightings
        dump = max(sightings, key=lambda each: sum(len(group.cpuid) for group in each.groups))
        lists = max(sightings, key=_worth)
        kernel = next((each.kernel for each in sightings if each.kernel is not None), Kernel())
        cpuinfo = self._cpuinfo(lists.cpuinfo, kernel)
        groups = dump.groups or tuple(CpuGroup(cpus=block.cpus) for block in cpuinfo)
        if dump.groups and len(cpuinfo) == 1 and not lists.numbered:
            # A pasted flags line names no CPU: it is about those of the dump.
            cpus = tuple(sorted(cpu for group in groups for cpu in group.cpus))
            cpuinfo = (Cpuinfo(cpus, cpuinfo[0].fields, cpuinfo[0].incomplete),)
        groups = groups or (CpuGroup(cpus=(0,)),)
        xcr0 = next((each.xcr0 for each in sightings if each.xcr0 is not None), None)
        if xcr0 is not None:
            groups = tuple(
                msgspec.structs.replace(group, xcr0=xcr0, xgetbv_outcome="ok")
                if group.xcr0 is None
                else group
                for group in groups
            )
        vulnerabilities: dict[str, str] = {}
        for each in sightings:
            vulnerabilities = {**each.vulnerabilities, **vulnerabilities}
        return Observation(
            source=self._source(dump, lists),
            executed=False,
            groups=groups,
            cpuinfo=cpuinfo or None,
            kernel=kernel,
            cmdline=next((each.cmdline for each in sightings if each.cmdline is not None), None),
            vulnerabilities=vulnerabilities,
            isa=_judged(self.isa),
            claims=tuple(claims for each in sightings for claims in each.claims),
            identity=self._identity(),
        )

    def _source(self, dump: Sighting, lists: Sighting) -> str:
        if dump.groups:
            return dump.source
        if lists.cpuinfo:
            return lists.source
        telling = [each for each in self.sightings if each.tells_features] or self.sightings
        return max(telling, key=lambda each: len(each.claims)).source

    def _identity(self) -> ToldIdentity | None:
        told = [
            each.identity
            for each in self.sightings
            if each.identity is not None
            and each.identity != ToldIdentity()
            and not any("model name" in block.fields for block in each.cpuinfo)
        ]
        if not told:
            named = self.identity.hypervisor
            return None if named is None else ToldIdentity(hypervisor=named)
        return msgspec.structs.replace(self.identity, vendor=_vendor(self.identity))

    def _cpuinfo(self, blocks: Iterable[Cpuinfo], kernel: Kernel) -> tuple[Cpuinfo, ...]:
        judged = []
        for block in blocks:
            incomplete = block.incomplete
            if self.isa == "i686" and incomplete == "short":
                incomplete = judge(block.fields.get("flags", "").split(), bits32=True)
            words = f"{kernel.release or ''} {kernel.version or ''}".strip()
            if _FOREIGN_KERNEL.search(words):
                incomplete = "foreign"
            judged.append(Cpuinfo(block.cpus, block.fields, incomplete))
        return tuple(judged)


def _vendor(identity: ToldIdentity) -> str | None:
    """The vendor as CPUID spells it, also where only the brand names it."""
    told = f"{identity.vendor or ''} {identity.brand or ''}".lower()
    return next((name for word, name in _SPELT.items() if word in told), identity.vendor)


def _judged(isa: str | None) -> Literal["x86_64", "i686", "aarch64"]:
    return "i686" if isa == "i686" else "aarch64" if isa == "aarch64" else "x86_64"


def _worth(sighting: Sighting) -> tuple[int, int, int]:
    """How much a kernel's list tells: whole ones before others, then numbered, then longer ones."""
    blocks = sighting.cpuinfo
    return (
        sum(block.incomplete is None for block in blocks) > 0,
        sighting.numbered,
        sum(len(list_of(block.fields)) for block in blocks),
    )


def _compatible(one: Sighting, other: Sighting) -> bool:
    """Whether two sightings of CPUs that look alike can be of one machine."""
    if one.groups and other.groups and one.source == other.source:
        return False  # the reader of the dumps took them for two
    if one.source == other.source and _differ(one.claims, other.claims):
        return False
    lists = [
        [
            frozenset(list_of(block.fields).split()) & (linux_words() | arm_words())
            for block in each.cpuinfo
            if block.incomplete is None and list_of(block.fields)
        ]
        for each in (one, other)
    ]
    if not lists[0] or not lists[1]:
        return one.source != other.source or not (one.cpuinfo and other.cpuinfo)
    return not set(lists[0]).isdisjoint(lists[1])


def _differ(one: Sequence[Claims], other: Sequence[Claims]) -> bool:
    """Whether names that one format tells twice are two lists, and not two parts of one."""
    first, second = ({name for claims in each for name in claims.yes} for each in (one, other))
    return first != second and len(first & second) >= _IN_BOTH


def machines_in(sightings: Sequence[Sighting]) -> list[Machine]:
    """The machines that a text is about, in its order; empty where it is about none.

    Raises:
        CaptureError: there are more than in any text that is about some.
    """
    strong = sorted((each for each in sightings if not each.weak), key=lambda each: each.line)
    if len(strong) > MAXIMUM_SIGHTINGS:
        raise CaptureError(f"tells of more than {MAXIMUM_SIGHTINGS} machines: give one at a time")
    machines: list[Machine] = []
    for sighting in strong:
        for machine in reversed(machines):
            if machine.is_also(sighting):
                machine.add(sighting)
                break
        else:
            machines.append(Machine(sighting))
    for sighting in sightings:
        if sighting.weak:
            _add_weak(machines, sighting)
    return machines


def _add_weak(machines: list[Machine], sighting: Sighting) -> None:
    """A mention belongs to the machine that follows or surrounds it, and makes none of its own."""
    if not machines:
        machines.append(Machine(sighting))
    elif len(machines) == 1 and machines[0].is_also(sighting):
        machines[0].add(sighting)
