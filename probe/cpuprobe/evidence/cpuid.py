"""The one reader of CPUID leaves: which leaf counts, and what the identity leaves say.

Rules (Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E):
  - a leaf counts only if the maximum leaf of its own range covers it; Intel CPUs answer a leaf
    above the maximum with the data of the highest basic leaf;
  - subleaf N of leaf 7 (and of the other leaves that say so) counts only up to EAX of subleaf 0;
  - what was not recorded is unknown, and unknown is not zero.
A leaf whose range's maximum was not recorded counts: a text that shows a single leaf is of a tool
that was asked for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from cpuprobe.evidence.observation import CpuidLeaf, ToldIdentity
from cpuprobe.facts.features import CpuidBit

# Leaves whose subleaf 0 gives the highest valid subleaf in EAX.
_EAX_IS_MAXIMUM_SUBLEAF = frozenset({0x7, 0x14, 0x17, 0x18, 0x1D, 0x1E, 0x20, 0x24})
_RANGE_BASES = (0xC0000000, 0x80860000, 0x80000000, 0x40000000, 0x0)
# Linux takes a range for absent where EAX of its first leaf leaves the upper half of the base
# (arch/x86/kernel/cpu/common.c, get_cpu_cap): Intel CPUs without it answer with their highest leaf.
_LONGEST_RANGE = 0xFFFF
_HYPERVISOR_BIT = CpuidBit(0x1, 0, "ecx", 31)
_SYSCALL = CpuidBit(0x80000001, 0, "edx", 11)
_LONG_MODE = CpuidBit(0x80000001, 0, "edx", 29)
# Leaves that a bit elsewhere announces: without it they are reserved, no tool need read them, and
# nothing that they enumerate is there (native/isa/x86_64/cpuid.c has them all).
_ANNOUNCED_BY = {
    0xD: CpuidBit(0x1, 0, "ecx", 26),  # XSAVE
    0x14: CpuidBit(0x7, 0, "ebx", 25),  # Processor Trace
    0x19: CpuidBit(0x7, 0, "ecx", 23),  # Key Locker
    0x1E: CpuidBit(0x7, 0, "edx", 24),  # AMX-TILE
    0x24: CpuidBit(0x7, 1, "edx", 19),  # AVX10
}
_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))

Registers = tuple[int, int, int, int]

XEN_SIGNATURE = 0x566E6558
"""EBX of CPUID.40000000H under Xen: `XenV`."""


def clear_topology(leaf: int, registers: Registers) -> Registers:
    """EAX to EDX of a leaf without what numbers the CPU, so that equal CPUs compare equal.

    The initial APIC ID of leaf 1, the CPU's row in the Hardware Feedback table of leaf 6, the
    x2APIC ID of leaves 0BH, 1FH and 80000026H, and the extended APIC, core and node IDs of leaf
    8000001EH (Intel SDM vol. 2A, CPUID; AMD APM vol. 3, E.4). The core does the same.
    """
    eax, ebx, ecx, edx = registers
    if leaf == 0x1:
        return eax, ebx & 0x00FFFFFF, ecx, edx
    if leaf == 0x6:
        return eax, ebx, ecx, edx & 0x0000FFFF
    if leaf in (0xB, 0x1F, 0x80000026):
        return eax, ebx, ecx, 0
    if leaf == 0x8000001E:
        return 0, ebx & 0xFFFFFF00, ecx & 0xFFFFFF00, edx
    return registers


def clear_xen_ids(leaves: dict[tuple[int, int], Registers]) -> None:
    """Drops vCPU and domain ID of Xen's leaf 40000004H (xen/include/public/arch-x86/cpuid.h)."""
    where = (0x40000004, 0)
    if where in leaves:
        eax, _, _, edx = leaves[where]
        leaves[where] = (eax, 0, 0, edx)


class Cpuid:
    """The CPUID leaves of one CPU."""

    def __init__(self, leaves: Iterable[CpuidLeaf], *, read_in_64_bit_mode: bool = True) -> None:
        """Index `leaves` by leaf and subleaf.

        Args:
            leaves: as CPUID returned them.
            read_in_64_bit_mode: False where the program that read them may have been a 32-bit one,
                as AIDA64 is: Intel CPUs then enumerate SYSCALL as 0 whatever they have (SDM
                vol. 2A, CPUID, footnote to 80000001H:EDX[11]).
        """
        self._read_in_64_bit_mode = read_in_64_bit_mode
        self._leaves = {(leaf.leaf, leaf.subleaf): leaf for leaf in leaves}
        self._covered: dict[tuple[int, int], bool | None] = {}

    def __bool__(self) -> bool:
        """Whether anything was recorded."""
        return bool(self._leaves)

    def covered(self, leaf: int, subleaf: int = 0) -> bool | None:
        """Whether the CPU has this leaf and subleaf; None where the record cannot tell."""
        where = (leaf, subleaf)
        if where not in self._covered:
            self._covered[where] = self._covers(leaf, subleaf)
        return self._covered[where]

    def _covers(self, leaf: int, subleaf: int) -> bool | None:
        base = next(base for base in _RANGE_BASES if leaf >= base)
        first = self._leaves.get((base, 0))
        if first is None:  # Of a few pasted leaves each is what somebody asked the CPU for.
            return True if (leaf, subleaf) in self._leaves else None
        if base and not base <= first.eax <= base + _LONGEST_RANGE:
            return False  # the range does not exist: EAX holds something else
        if leaf > first.eax:
            return False
        if subleaf and leaf in _EAX_IS_MAXIMUM_SUBLEAF:
            zero = self._leaves.get((leaf, 0))
            if zero is None:
                return None
            if subleaf > zero.eax:
                return False
        return True

    def leaf(self, leaf: int, subleaf: int = 0) -> CpuidLeaf | None:
        """The recorded leaf, if the CPU's maximum covers it."""
        return self._leaves.get((leaf, subleaf)) if self.covered(leaf, subleaf) else None

    def bit(self, where: CpuidBit) -> bool | None:
        """A feature bit: False where the leaf does not exist, None where it was not recorded.

        A leaf that was not recorded and that the CPU does not announce holds nothing.
        """
        covered = self.covered(where.leaf, where.subleaf)
        if not covered:
            return covered
        leaf = self._leaves.get((where.leaf, where.subleaf))
        if leaf is None:
            by = _ANNOUNCED_BY.get(where.leaf)
            return False if by is not None and self.bit(by) is False else None
        value: int = getattr(leaf, where.register)
        if where == _SYSCALL and not self._read_in_64_bit_mode:
            # Every CPU with long mode has SYSCALL in it (APM vol. 3, SYSCALL; SDM vol. 2B).
            return bool((value >> _SYSCALL.bit | value >> _LONG_MODE.bit) & 1)
        return where.holds(value)

    @property
    def vendor(self) -> str | None:
        """The vendor string of leaf 0 (`GenuineIntel`), None if not recorded."""
        leaf = self._leaves.get((0, 0))
        return None if leaf is None else _text(leaf.ebx, leaf.edx, leaf.ecx)

    @property
    def signature(self) -> tuple[int, int, int] | None:
        """Display family, display model and stepping (SDM vol. 2A, CPUID.01H:EAX)."""
        leaf = self.leaf(1)
        if leaf is None:
            return None
        family, model = leaf.eax >> 8 & 0xF, leaf.eax >> 4 & 0xF
        if family == 0xF:
            family += leaf.eax >> 20 & 0xFF
        if family in (0x6, 0x7) or family >= 0xF:
            model |= leaf.eax >> 12 & 0xF0
        return family, model, leaf.eax & 0xF

    @property
    def identity(self) -> ToldIdentity:
        """Who these leaves say the CPU is."""
        family, model, stepping = self.signature or (None, None, None)
        return ToldIdentity(
            vendor=self.vendor or None,
            brand=self.brand or None,
            family=family,
            model=model,
            stepping=stepping,
        )

    @property
    def brand(self) -> str | None:
        """The brand string of leaves 80000002H to 80000004H, None if not recorded."""
        leaves = [self.leaf(number) for number in (0x80000002, 0x80000003, 0x80000004)]
        words = [
            word for leaf in leaves if leaf for word in (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx)
        ]
        return " ".join(_text(*words).split()) if len(words) == 12 else None

    @property
    def long_mode(self) -> bool | None:
        """CPUID.80000001H:EDX[29]: whether the CPU has 64-bit mode, whatever the system uses."""
        return self.bit(_LONG_MODE)

    @property
    def hypervisor_present(self) -> bool | None:
        """CPUID.01H:ECX[31], which hypervisors set and hardware never does."""
        return self.bit(_HYPERVISOR_BIT)

    @property
    def hypervisor(self) -> str | None:
        """The hypervisor's signature of leaf 40000000H (`KVMKVMKVM`), None without a hypervisor."""
        leaf = self._leaves.get((0x40000000, 0))
        if leaf is None or not self.hypervisor_present:
            return None
        return _text(leaf.ebx, leaf.ecx, leaf.edx).strip() or None

    def enabled_state_size(self) -> int | None:
        """Bytes of the XSAVE area for the components now enabled in XCR0 (CPUID.0DH.0:EBX)."""
        leaf = self.leaf(0xD)
        return None if leaf is None else leaf.ebx

    def state_component_end(self, component: int) -> int | None:
        """Where a state component ends in the standard XSAVE area (CPUID.0DH.n: EAX + EBX)."""
        leaf = self.leaf(0xD, component)
        return None if leaf is None or leaf.eax == 0 else leaf.eax + leaf.ebx


def _text(*words: int) -> str:
    """Registers as the ASCII text they hold; what is not printable ASCII becomes `?`."""
    raw = struct.pack(f"<{len(words)}I", *words).split(b"\0", 1)[0]
    return raw.translate(_PRINTABLE).decode("ascii")
