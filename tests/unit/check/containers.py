"""A Go program for Linux as files for Windows and macOS with the same code and data."""

from __future__ import annotations

import struct
from pathlib import Path

from cpuprobe.code.elf import SHF_ALLOC, Elf, Section
from cpuprobe.files import OpenedFile

IMAGE = 0x400000
"""Where Go's linker puts a program for Linux, and one for Windows."""
NAMES = {
    ".text": "__text",
    ".rodata": "__rodata",
    ".itablink": "__itablink",
    ".gopclntab": "__gopclntab",
    ".go.buildinfo": "__go_buildinfo",
    ".noptrdata": "__noptrdata",
    ".data": "__data",
}
"""Sections that Go's linker makes, and their names in Mach-O."""


def sections(path: Path) -> tuple[int, dict[str, tuple[int, bytes]]]:
    """The entry point; of sections with content name, address and content."""

    def held(each: Section) -> bool:
        return bool(each.name in NAMES and each.flags & SHF_ALLOC)

    with OpenedFile(str(path)) as file:
        elf = Elf(file)
        return elf.entry, {
            each.name: (each.address, each.data) for each in elf.sections if held(each)
        }


def together(parts: list[tuple[int, bytes]]) -> tuple[int, bytes]:
    """Parts of memory as one."""
    low = min(address for address, _ in parts)
    made = bytearray(max(address + len(content) for address, content in parts) - low)
    for address, content in parts:
        made[address - low : address - low + len(content)] = content
    return low, bytes(made)


def pe(path: Path) -> bytes:
    """As Go's linker makes it: .text, .rdata, and .data, which begins with what it says."""
    entry, found = sections(path)
    data = together([found[name] for name in (".go.buildinfo", ".noptrdata", ".data")])
    rdata = together([found[name] for name in (".rodata", ".itablink", ".gopclntab")])
    rows = [(b".text", 0x60000020, found[".text"]), (b".rdata", 0x40000040, rdata)]
    rows.append((b".data", 0xC0000040, data))
    head = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", 0x8664, len(rows), 0, 0, 0, 240, 0x22)
    head += struct.pack("<H14xI4xQ", 0x20B, entry - IMAGE, IMAGE).ljust(112, b"\0") + bytes(128)
    place, table, body = len(head) + 40 * len(rows), b"", b""
    for name, flags, (address, content) in rows:
        at, size = place + len(body), len(content)
        table += struct.pack("<8sIIII12xI", name, size, address - IMAGE, size, at, flags)
        body += content
    return head + table + body


def macho(path: Path) -> bytes:
    """A program that does not move, with one segment."""
    entry, found = sections(path)
    start = struct.pack("<IIII", 0x5, 184, 4, 42) + struct.pack("<21Q", *[0] * 16, entry, *[0] * 4)
    size = 72 + 80 * len(found)
    place, rows, body = 32 + size + len(start), b"", b""
    for name, (address, content) in found.items():
        flags = 0x80000400 if name == ".text" else 0
        row = struct.pack(
            "<16s16sQQI", NAMES[name].encode(), b"__TEXT", address, len(content), place + len(body)
        )
        rows += row + struct.pack("<IIIIIII", 0, 0, 0, flags, 0, 0, 0)
        body += content
    low = min(address for address, _ in found.values())
    segment = struct.pack(
        "<II16s4QiiII", 0x19, size, b"__TEXT", low, 1 << 24, place, len(body), 7, 7, len(found), 0
    )
    head = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x01000007, 3, 2, 2, size + len(start), 0, 0)
    return head + segment + rows + start + body
