"""Programs that look into /proc/cpuinfo for what the CPU can do: where their data names it."""

from __future__ import annotations

from collections.abc import Iterator

from cpuprobe.code import elf as abi
from cpuprobe.code.elf import Elf, Section

_PATH = b"/proc/cpuinfo"
_UNWINDING = {".eh_frame", ".eh_frame_hdr", ".gcc_except_table"}
"""Constants without a word in them, often more than all others."""
_PIECE = 1 << 18
"""Bytes that are looked at together; more would not stay in the processor's cache."""
_FLAGS = (b"avx", b"sse4_", b"fma", b"bmi")
"""What is looked for there by who does not only count CPUs (Linux, arch/x86/kernel/cpu/proc.c)."""


def constants(elf: Elf, most: int) -> Iterator[Section]:
    """The sections of constants, but for unwind entries.

    Args:
        elf: an ELF file with sections; without them nothing is found.
        most: bytes of all; what is larger is left out.
    """
    for section in elf.sections:
        unlike = abi.SHF_EXECINSTR | abi.SHF_WRITE
        constant = section.flags & (abi.SHF_ALLOC | unlike) == abi.SHF_ALLOC
        if not constant or section.type != abi.SHT_PROGBITS or section.size > most:
            continue
        if section.name not in _UNWINDING:
            most -= section.size
            yield section


def questions(elf: Elf, most: int) -> Iterator[tuple[Section, int]]:
    """Where the file's name stands among constants, where names of features are as well.

    Args:
        elf: an ELF file with sections; without them nothing is found.
        most: bytes of constants that are looked at.

    Yields:
        A section, and how far into it.
    """
    for section in constants(elf, most):
        places = [*_places(section)]
        if places and any(_begins_a_word(section, each) for each in _FLAGS):
            yield from ((section, at) for at in places)


def _pieces(section: Section, overlap: int) -> Iterator[tuple[int, bytes]]:
    """A section, which is not held for that: where each piece begins, and its bytes.

    So many of these as `overlap` begin the next piece too.
    """
    for start in range(0, section.size, _PIECE):
        size = min(_PIECE + overlap, section.size - start)
        yield start, section.file.read(section.offset + start, size, f"section {section.number}")


def _places(section: Section) -> Iterator[int]:
    """Where the name stands in a section."""
    for start, piece in _pieces(section, len(_PATH) - 1):
        at = piece.find(_PATH)
        while at >= 0:
            yield start + at
            at = piece.find(_PATH, at + 1)


def _begins_a_word(section: Section, name: bytes) -> bool:
    """Whether a name stands somewhere with no letter before it."""
    for start, piece in _pieces(section, len(name)):
        at = piece.find(name, start > 0)  # the first byte was seen with the one before it
        while at > 0 and piece[at - 1 : at].islower():
            at = piece.find(name, at + 1)
        if at >= 0:
            return True
    return False
