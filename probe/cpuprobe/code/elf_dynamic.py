"""What the dynamic loader makes of an ELF file: what it runs, and the addresses that it fills in.

System V ABI, edition 4.1, chapter 5, "Dynamic Section"; relocations: x86-64 psABI, AAELF64.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from cpuprobe.code import elf as abi
from cpuprobe.code.elf import Elf
from cpuprobe.code.functions import HIGHEST
from cpuprobe.code.making import maker
from cpuprobe.code.program import Binary
from cpuprobe.code.relocations import moved

_PACKED = (abi.SHT_RELR, 0x6FFFFF00)
"""The second is SHT_ANDROID_RELR."""
_BITS = bytes.maketrans(b"01", b"\0\1")
MOST_WORDS = 32 << 20
"""Bytes of static data in which addresses are looked for."""
_DT_INIT, _DT_FLAGS_1 = 12, 0x6FFFFFFB
_ARRAYS = {32: 33, 25: 27}
"""DT_PREINIT_ARRAY and DT_INIT_ARRAY, and the tags of their sizes."""
_OF_ARRAYS = (abi.SHT_PREINIT_ARRAY, abi.SHT_INIT_ARRAY)
_DF_1_PIE = 0x08000000
_MOST_INITIAL, _MOST_ARRAYS = 1024, 4
# R_X86_64_64 (R_AARCH64_ABS64), RELATIVE, IRELATIVE (AAELF64, 5.7)
_RELOCATIONS = {abi.EM_X86_64: (1, 8, 37), abi.EM_AARCH64: (257, 1027, 1032)}


def read_dynamic(file: Binary, elf: Elf) -> None:
    """What is a program, what every load runs, and where static data holds addresses.

    Many libraries have an entry point too, set by old linkers.
    """
    interpreter = elf.segment(abi.PT_INTERP) is not None
    found: dict[int, int] = {}
    dynamic = elf.segment(abi.PT_DYNAMIC)
    if dynamic is not None:
        body = elf.read(dynamic.offset, dynamic.size & ~15, "the dynamic section")
        for tag, value in struct.iter_unpack("<QQ", body):
            found.setdefault(tag, value)
    is_pie = bool(found.get(_DT_FLAGS_1, 0) & _DF_1_PIE)
    if interpreter or is_pie:
        file.kind = "executable"
    file.loader = interpreter or file.kind == "library"
    arrays = [(found[tag], found.get(size, 0)) for tag, size in _ARRAYS.items() if tag in found]
    if dynamic is None:  # linked statically: symbols tell it where they are
        arrays = [(each.address, each.size) for each in elf.sections if each.type in _OF_ARRAYS]
    slots = _read_arrays(elf, arrays)
    _read_relocations(file, elf, slots)
    file.written, file.sealed = _spans(elf, abi.PT_LOAD, abi.PF_W), _spans(elf, abi.PT_GNU_RELRO)
    if elf.kind == abi.ET_EXEC:
        _read_words(file, elf)
    first = [found[_DT_INIT]] if _DT_INIT in found else []
    file.initial = tuple(dict.fromkeys([*first, *filter(None, slots.values())]))


def _spans(elf: Elf, kind: int, flags: int = 0) -> list[tuple[int, int]]:
    """Where segments of a type that have all of some flags lie in memory, in order."""
    return sorted(
        (each.address, min(each.address + each.memory_size, HIGHEST))
        for each in elf.segments
        if each.type == kind and each.flags & flags == flags
    )


def _read_arrays(elf: Elf, arrays: list[tuple[int, int]]) -> dict[int, int]:
    """What stands in each slot of arrays of functions, given the addresses and sizes of these."""
    slots: dict[int, int] = {}
    for start, size in arrays[:_MOST_ARRAYS]:
        those = dict.fromkeys(range(start, start + min(size, 8 * _MOST_INITIAL) & ~7, 8), 0)
        where = elf.loaded(start) if those else None
        if where is not None:
            there = min(8 * len(those), where[1]) & ~7
            content = elf.read(where[0], there, "an array of functions that are called first")
            those.update(zip(those, struct.unpack(f"<{there // 8}Q", content), strict=False))
        slots |= those
    return slots


def _read_relocations(file: Binary, elf: Elf, slots: dict[int, int]) -> None:
    """Counts functions chosen at load time, and puts addresses into the slots they belong in."""
    make = maker()
    moved(_packed(elf), file.relocations)
    word, relative, chosen = _RELOCATIONS[elf.machine]
    low, high = min(slots, default=0), min(max(slots, default=-1) + 1, HIGHEST)
    for section in elf.sections:
        where = section.address, section.address + section.size
        if section.name in (".got", ".got.plt"):
            file.relocations.of_code.append(where)
        in_memory = section.flags & (abi.SHF_ALLOC | abi.SHF_TLS) == abi.SHF_ALLOC
        if section.type == abi.SHT_NOBITS and in_memory:
            file.zeros.append(where)
        if section.type == abi.SHT_RELA and section.size % 24 == 0:
            content = section.data
            file.relocations.tables.append(content)
            count, rows = make.relocations(content, chosen, low, high)
            file.ifuncs += count
            for row in rows:
                place, info, addend = struct.unpack_from("<QQQ", content, 24 * row)
                kind = info & 0xFFFFFFFF
                if place in slots and kind in (relative, word):
                    value = _symbol_value(elf, info >> 32) if kind == word else 0
                    slots[place] = value + addend


def _packed(elf: Elf) -> Iterator[tuple[int, int]]:
    """Slots of packed relocations, and the addresses of the file itself that they hold.

    An even word is the address of a slot; the bits of an odd one tell which of the next 63 are some
    (System V ABI, 4.3 draft, "Relative Relocation Table"; Android's is the same). They ascend.
    """
    tables = [each.data for each in elf.sections if each.type in _PACKED][:_MOST_ARRAYS]
    written = [each for each in elf.segments if each.type == abi.PT_LOAD and each.flags & abi.PF_W]
    most = sum(each.size for each in written[:_MOST_ARRAYS]) // 8
    for segment in written[:_MOST_ARRAYS] if any(tables) else ():
        low, high = segment.address, segment.address + (segment.size & ~7)
        memory = memoryview(elf.read(segment.offset, segment.size & ~7, "what is relocated"))
        words = memory.cast("Q")
        for content in tables:
            for at, bits in _runs(content, low, high, most):
                first = at - low >> 3
                if (at - low) % 8 == 0:
                    places = range(at, high, 8)
                    yield from itertools.compress(zip(places, words[first:], strict=False), bits)


def _runs(content: bytes, low: int, high: int, left: int) -> Iterator[tuple[int, bytes]]:
    """Where slots of a table may lie between two addresses, and which of those there are some."""
    at = 0
    for (word,) in struct.iter_unpack("<Q", content[: len(content) & ~7]):
        left -= 1
        if left < 0 or (not word & 1 and not at <= word < high):
            return
        start, at = (at, at + 63 * 8) if word & 1 else (word, word + 8)
        if low <= start < high:
            bits = f"{word >> 1:063b}"[::-1] if word & 1 else "1"
            yield start, bits.encode().translate(_BITS)


def _read_words(file: Binary, elf: Elf) -> None:
    """Static data of a program that does not move: addresses stand in it as they are."""
    left = MOST_WORDS
    for section in elf.sections:
        is_data = section.flags & abi.SHF_ALLOC and not section.flags & abi.SHF_EXECINSTR
        is_table = section.name.endswith(".gopclntab")  # of Go, without addresses
        if section.type != abi.SHT_PROGBITS or is_table or not is_data:
            continue
        if 8 <= section.size <= left:
            left -= section.size
            file.relocations.words.append((section.address, section.data))


def _symbol_value(elf: Elf, number: int) -> int:
    """The address of a dynamic symbol; 0 if it is another file's."""
    table = elf.section(abi.SHT_DYNSYM)
    if table is None or 24 * number + 24 > table.size:
        return 0
    row = elf.read(table.offset + 24 * number, 24, "a symbol")
    return int.from_bytes(row[8:16], "little")
