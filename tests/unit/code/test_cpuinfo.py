"""Where a file names /proc/cpuinfo, among names of features."""

from __future__ import annotations

import pytest
from tests.elf_files import HEADER, elf

from cpuprobe.code.cpuinfo import questions
from cpuprobe.code.elf import SHF_ALLOC, SHT_PROGBITS, ArtifactError, Elf, Held

PATH = b"/proc/cpuinfo"
PIECE = 1 << 18


def places(constants: bytes, most: int = 1 << 24) -> list[int]:
    """Where the name stands in constants, which are a section of a file."""
    section = (0, SHT_PROGBITS, SHF_ALLOC, 0x1000, HEADER, len(constants), 0)
    return [at for _, at in questions(Elf(Held(elf(constants, sections=[section]))), most)]


@pytest.mark.parametrize("at", [0, 7, PIECE - 14, PIECE - 13, PIECE - 12, PIECE - 1, PIECE])
def test_a_name_is_found_once_wherever_it_stands(at):
    """Where two pieces meet too; both its own and that of the feature."""
    start = bytes(at) + PATH

    assert places(start.ljust(2 * PIECE, b"\0") + b"\0avx\0") == [at]
    assert places(b"\0avx\0" + start.ljust(3 * PIECE, b"\0")) == [5 + at]
    for shift in range(5):  # the feature's name across the next meeting
        filled = start.ljust(3 * PIECE - 5 - shift, b"\0") + b"\0avx2"
        assert places(filled.ljust(3 * PIECE + 9, b"\0")) == [at]


def test_a_name_within_a_word_is_none():
    """Letters before it that are in the piece before count as well."""
    for shift in range(5):
        filled = PATH.ljust(PIECE - shift, b"\0") + b"zavx2"

        assert places(filled.ljust(2 * PIECE, b"\0")) == []
    assert places(b"zavx avx2" + PATH) == [9]
    assert places(PATH) == []


def test_constants_beyond_a_bound_are_not_looked_at():
    """The largest first of all takes the room of others."""
    assert places(PATH + b" avx2", most=len(PATH)) == []


def test_a_file_that_becomes_shorter_meanwhile():
    """It is one that cannot be read."""
    content = elf(PATH, sections=[(0, SHT_PROGBITS, SHF_ALLOC, 0x1000, HEADER, len(PATH), 0)])

    class Cut(Held):
        def some(self, offset: int, size: int) -> bytes:
            return super().some(offset, size if offset != HEADER else 3)

    with pytest.raises(ArtifactError, match="became shorter"):
        list(questions(Elf(Cut(content)), 1 << 20))
