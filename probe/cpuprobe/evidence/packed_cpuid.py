"""The CPUID leaves of one CPU as few bytes: those of a share code."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from cpuprobe.evidence.observation import CpuGroup, CpuidLeaf
from cpuprobe.facts.features import load_features

# What the reader of CPUID needs beside the leaves of features, and the registers that count (Intel
# SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E).
_ALL = "eax ebx ecx edx"
_LEAVES: Mapping[tuple[int, int], str] = {
    (0x0, 0): _ALL,
    (0x1, 0): "eax ecx edx",
    (0x7, 0): _ALL,
    (0xD, 1): "eax",
    (0x40000000, 0): _ALL,
    (0x80000000, 0): "eax",
    (0x80000001, 0): "ecx edx",
    **dict.fromkeys([(0x80000002, 0), (0x80000003, 0), (0x80000004, 0)], _ALL),
}
# Where XCR0 is not known, sizes and offsets of the states tell what is on.
_STATE_LEAVES = dict.fromkeys([(0xD, subleaf) for subleaf in (0, *range(2, 20))], "eax ebx")


def packed_leaves(group: CpuGroup) -> bytes:
    """Leaf, subleaf and which registers are not zero, then those; the low bytes first."""
    bits = [feature.cpuid for feature in load_features().values()]
    # Subleaf 0 tells how many others there are.
    of_features = {(bit.leaf, subleaf): _ALL for bit in bits for subleaf in {0, bit.subleaf}}
    wanted = {**of_features, **(_STATE_LEAVES if group.xcr0 is None else {}), **_LEAVES}
    parts = []
    for leaf in group.cpuid:
        registers = wanted.get((leaf.leaf, leaf.subleaf))
        if registers is not None:
            values = {name: getattr(leaf, name) for name in registers.split()}
            mask = sum(1 << at for at, name in enumerate(_ALL.split()) if values.get(name))
            where = leaf.leaf >> 24 & 0xF0 | mask, leaf.leaf & 0xFF, leaf.subleaf
            filled = [value for value in values.values() if value]
            parts.append(struct.pack(f"<3B{len(filled)}I", *where, *filled))
    return b"".join(parts)


def leaves(packed: bytes) -> Iterator[CpuidLeaf]:
    """The leaves that `packed_leaves` packed; struct.error where it was something else."""
    at = 0
    while at < len(packed):
        high, low, subleaf = struct.unpack_from("<3B", packed, at)
        many = (high & 0xF).bit_count()
        values = iter(struct.unpack_from(f"<{many}I", packed, at + 3))
        registers = [next(values) if high >> bit & 1 else 0 for bit in range(4)]
        yield CpuidLeaf((high & 0xF0) << 24 | low, subleaf, *registers)
        at += 3 + 4 * many
