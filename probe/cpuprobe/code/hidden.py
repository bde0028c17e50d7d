"""Code that a file holds and does not show: packed, left to the linker, put behind it."""

from __future__ import annotations

from cpuprobe.code import elf as abi
from cpuprobe.code.elf import ArtifactError, Elf, Source

UPX = "program packed by UPX"
_UPX, _WITHIN = b"UPX!", 1024
_LTO = "object of GCC for link-time optimization"
LTO = ".gnu.lto_"
"""What the names of its sections begin with; on macOS their segment is __GNU_LTO."""


class UnreadError(ArtifactError):
    """A file that may hold code, of a kind that is not read; its words are what the kind is."""


def refuse_hidden(source: Source, elf: Elf) -> None:
    """UnreadError if the code of an ELF file is packed, or not made yet.

    UPX has its mark behind the program headers (upx, src/p_elf.h, struct l_info).
    """
    if _UPX in source.some(0, _WITHIN):
        raise UnreadError(UPX)
    if elf.kind != abi.ET_REL:
        return
    code = any(each.flags & abi.SHF_EXECINSTR and each.size for each in elf.sections)
    refuse_unmade(code, any(each.name.startswith(LTO) for each in elf.sections))


def refuse_unmade(has_code: bool, is_for_linker: bool) -> None:
    """UnreadError if an object waits for the linker: GCC's have code with -ffat-lto-objects."""
    if is_for_linker and not has_code:
        raise UnreadError(_LTO)


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
