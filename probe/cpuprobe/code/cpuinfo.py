"""Programs that look into /proc/cpuinfo for what the CPU can do: where their data names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from cpuprobe.code import elf as abi
from cpuprobe.code.elf import Elf, Section

_PATH = b"/proc/cpuinfo"
_UNWINDING = {".eh_frame", ".eh_frame_hdr", ".gcc_except_table"}
"""Constants without a word in them, often more than all others."""
_PIECE = 1 << 20
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


def questions(
    elf: Elf, most: int, held: Mapping[int, bytes] = MappingProxyType({})
) -> Iterator[tuple[Section, int]]:
    """Where the file's name stands among constants, where names of features are as well.

    Args:
        elf: an ELF file with sections; without them nothing is found.
        most: bytes of constants that are looked at.
        held: sections that were read already, by their addresses.

    Yields:
        A section, and how far into it.
    """
    for section in constants(elf, most):
        content = held.get(section.address)
        places = [*(_places(section) if content is None else _found(content))]
        if places:
            content = section.data if content is None else content
            if any(_begins_a_word(content, each) for each in _FLAGS):
                yield from ((section, at) for at in places)


def _begins_a_word(content: bytes, name: bytes) -> bool:
    """Whether a name stands somewhere with no letter before it."""
    at = content.find(name)
    while at > 0 and content[at - 1 : at].islower():
        at = content.find(name, at + 1)
    return at >= 0


def _places(section: Section) -> Iterator[int]:
    """Where the name stands in a section, which is not held for that."""
    for start in range(0, section.size, _PIECE):
        size = min(_PIECE + len(_PATH) - 1, section.size - start)
        content = section.file.read(section.offset + start, size, f"section {section.number}")
        yield from (start + at for at in _found(content))


def _found(content: bytes) -> Iterator[int]:
    """Where the name stands in some bytes."""
    at = content.find(_PATH)
    while at >= 0:
        yield at
        at = content.find(_PATH, at + 1)
