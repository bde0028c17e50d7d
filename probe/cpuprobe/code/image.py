"""Bytes of code out of an executable file: ELF (Linux) and PE (Windows).

Layout of PE: Microsoft's PE Format, COFF file header and section table.
"""

from __future__ import annotations

import struct
from typing import Literal

from cpuprobe.code.elf import EM_AARCH64, EM_X86_64, PF_X, PT_LOAD, ArtifactError, Elf, Segment
from cpuprobe.errors import CaptureError
from cpuprobe.files import OpenedFile

_PAGE = 4096


def elf_image(file: OpenedFile) -> Elf:
    """An ELF file for x86-64 or AArch64 with program headers.

    Raises:
        ArtifactError: it is no such file, or its headers lie outside of it.
    """
    elf = Elf(file)
    if elf.wide and (elf.machine not in (EM_AARCH64, EM_X86_64) or elf.order != "<"):
        raise ArtifactError(f"an ELF file for another processor (e_machine {elf.machine})")
    if not elf.segments:
        raise ArtifactError("an ELF file without program headers")
    return elf


def code_at(path: str, offset: int, origin: Origin, mapping_size: int | None = None) -> bytes:
    """The code at an offset of an executable file.

    Args:
        path: an ELF file for x86-64 or AArch64, or a PE file.
        offset: where the instruction is.
        origin: what `offset` counts from.
        mapping_size: for origin `mapping`, the size of that mapping in bytes.

    Raises:
        CaptureError: not such a file, or it has no code there.
    """
    with OpenedFile(path) as file:
        if file.some(0, 2) == b"MZ":
            return _code_of_pe(file, offset, origin)
        loaded = [each for each in elf_image(file).segments if each.type == PT_LOAD]
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
    executable = [each for each in loaded if each.flags & PF_X]
    places: list[tuple[int, int]] = []
    for each in executable:
        lead = each.offset % _PAGE
        if origin == "file":
            inside = offset - each.offset
        elif origin == "image":
            first = min(segment.address for segment in loaded) // _PAGE * _PAGE
            inside = offset + first - each.address
        else:
            # Older kernels print the mapping alone; it is the segment's if the sizes agree.
            pages = -(-(lead + each.size) // _PAGE) * _PAGE
            if mapping_size is not None and pages != mapping_size and len(executable) > 1:
                continue
            inside = offset - lead
        if 0 <= inside < each.size:
            places.append((each.offset + inside, each.size - inside))
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
