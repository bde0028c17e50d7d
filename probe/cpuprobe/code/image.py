"""Bytes of code out of an executable file: ELF (Linux) and PE (Windows).

Layout: System V ABI, edition 4.1, chapter 5 (Elf64_Phdr); Microsoft's PE Format, COFF file header
and section table.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from cpuprobe.errors import CaptureError
from cpuprobe.files import OpenedFile

MAXIMUM_HEADERS = 1 << 17
"""The kernel gives a process 65,530 mappings unless told otherwise (vm.max_map_count)."""

PT_LOAD, PT_NOTE = 1, 4
PF_X = 1
_PAGE = 4096
_EM_X86_64 = 62
_PN_XNUM = 0xFFFF


class Segment(NamedTuple):
    """An ELF program header, with the ABI's names."""

    p_type: int
    p_flags: int
    p_offset: int
    p_vaddr: int
    p_paddr: int
    p_filesz: int
    p_memsz: int
    p_align: int


def read_segments(file: OpenedFile) -> tuple[int, list[Segment]]:
    """The e_type and the program headers of a 64-bit little-endian ELF file for x86-64.

    Raises:
        CaptureError: it is not such a file, or its headers lie outside of it.
    """
    header = file.some(0, 64)
    if header[:4] != b"\x7fELF":
        raise CaptureError("not an ELF file")
    if len(header) < 64:
        raise CaptureError("an ELF file cut short")
    if header[4] != 2 or header[5] != 1:
        raise CaptureError("an ELF file of a 32-bit or big-endian program: only x86-64 is read")
    e_type, machine = struct.unpack_from("<HH", header, 16)
    if machine != _EM_X86_64:
        raise CaptureError(f"an ELF file for another processor (e_machine {machine})")
    table, sections = struct.unpack_from("<QQ", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    if count == _PN_XNUM:  # the real number is sh_info of section 0
        (count,) = struct.unpack("<I", file.exactly(sections + 44, 4, "the first section header"))
    if count == 0:
        raise CaptureError("an ELF file without program headers")
    if size != 56 or count > MAXIMUM_HEADERS:
        raise CaptureError(f"{count} program headers of {size} bytes: no ELF file has such")
    raw = file.exactly(table, count * size, "the program header table")
    return e_type, [Segment(*row) for row in struct.iter_unpack("<IIQQQQQQ", raw)]


def code_at(path: str, offset: int, origin: Origin, mapping_size: int | None = None) -> bytes:
    """The code at an offset of an executable file.

    Args:
        path: an ELF file for x86-64, or a PE file.
        offset: where the instruction is.
        origin: what `offset` counts from.
        mapping_size: for origin `mapping`, the size of that mapping in bytes.

    Raises:
        CaptureError: not such a file, or it has no code there.
    """
    with OpenedFile(path) as file:
        if file.some(0, 2) == b"MZ":
            return _code_of_pe(file, offset, origin)
        _, segments = read_segments(file)
        loaded = [each for each in segments if each.p_type == PT_LOAD]
        for place, limit in _places(loaded, offset, origin, mapping_size):
            code = file.some(place, min(WINDOW, limit))
            if code:
                return code
    raise CaptureError(f"no code at offset {offset:#x}")


def _places(
    loaded: list[Segment], offset: int, origin: Origin, mapping_size: int | None
) -> list[tuple[int, int]]:
    """File offsets that `offset` can mean, each with the number of bytes up to the segment's end.

    Only executable segments count: an offset elsewhere was not understood rightly.
    """
    executable = [each for each in loaded if each.p_flags & PF_X]
    places: list[tuple[int, int]] = []
    for each in executable:
        lead = each.p_offset % _PAGE
        if origin == "file":
            inside = offset - each.p_offset
        elif origin == "image":
            first = min(segment.p_vaddr for segment in loaded) // _PAGE * _PAGE
            inside = offset + first - each.p_vaddr
        else:
            # Older kernels print the mapping alone; it is the segment's if the sizes agree.
            pages = -(-(lead + each.p_filesz) // _PAGE) * _PAGE
            if mapping_size is not None and pages != mapping_size and len(executable) > 1:
                continue
            inside = offset - lead
        if 0 <= inside < each.p_filesz:
            places.append((each.p_offset + inside, each.p_filesz - inside))
    return places


def _code_of_pe(file: OpenedFile, offset: int, origin: Origin) -> bytes:
    (start,) = struct.unpack("<I", file.exactly(0x3C, 4, "the DOS header"))
    signature, machine, sections, optional = struct.unpack(
        "<4sHH12xH2x", file.exactly(start, 24, "the PE header")
    )
    if signature != b"PE\0\0" or machine != 0x8664:
        raise CaptureError("not a PE file for x86-64")
    if sections > 96:  # the limit of the Windows loader
        raise CaptureError(f"{sections} sections: no PE file has so many")
    table = file.exactly(start + 24 + optional, sections * 40, "the section table")
    for row in range(0, len(table), 40):
        size, address, raw_size, raw = struct.unpack_from("<IIII", table, row + 8)
        inside = offset - (raw if origin == "file" else address)
        if 0 <= inside < min(size, raw_size):
            return file.some(raw + inside, min(WINDOW, raw_size - inside))
    raise CaptureError(f"no code at offset {offset:#x}")


# What an offset into a module counts from:
#   file     the start of the file
#   image    the lowest address at which the module is mapped
#   mapping  the start of the one mapping that holds the address
Origin = Literal["file", "image", "mapping"]


WINDOW = 64
"""Bytes of code that are kept from the faulting instruction on; no instruction has over 15."""
