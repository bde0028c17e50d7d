"""Code that an ELF file holds and does not show: packed, left to the linker, put behind it."""

from __future__ import annotations

from cpuprobe.code import elf as abi
from cpuprobe.code.elf import ArtifactError, Elf, Source

UPX = "program packed by UPX"
_UPX, _WITHIN = b"UPX!", 1024


class UnreadError(ArtifactError):
    """A file that may hold code, of a kind that is not read; its words are what the kind is."""


def refuse_hidden(source: Source, elf: Elf) -> None:
    """UnreadError if the code is packed, or not made yet.

    UPX has its mark behind the program headers (upx, src/p_elf.h, struct l_info). GCC's objects for
    LTO have sections `.gnu.lto_*`, and no code unless -ffat-lto-objects asks for both.
    """
    if _UPX in source.some(0, _WITHIN):
        raise UnreadError(UPX)
    if elf.kind != abi.ET_REL:
        return
    code = any(each.flags & abi.SHF_EXECINSTR and each.size for each in elf.sections)
    if not code and any(each.name.startswith(".gnu.lto_") for each in elf.sections):
        raise UnreadError("object of GCC for link-time optimization")


def appended(source: Source, elf: Elf) -> int:
    """Bytes behind all that a file's tables tell of, or in a section that was put in afterwards.

    Nothing loads either. PyInstaller's archive is in one or the other. Compilers begin the names of
    their sections with a dot (System V ABI, "Special Sections").
    """
    sections_at = int.from_bytes(source.some(40, 8), "little")
    pieces = [each for each in elf.sections if each.type != abi.SHT_NOBITS] + [*elf.segments]
    end = max((each.offset + each.size for each in pieces), default=0)
    put_in = sum(
        each.size
        for each in elf.sections
        if each.type == abi.SHT_PROGBITS
        and not each.flags & abi.SHF_ALLOC
        and not each.name.startswith(".")
    )
    return max(0, source.size - max(end, sections_at + 64 * len(elf.sections))) + put_in
