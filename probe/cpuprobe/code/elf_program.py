"""ELF programs, libraries and object files: executable bytes, functions, notes.

x86 notes: x86-64 psABI, "Program Property".
"""

from __future__ import annotations

import functools
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from cpuprobe.code import elf as abi
from cpuprobe.code.cpuinfo import constants, questions
from cpuprobe.code.elf import ArtifactError, Elf, Source, text
from cpuprobe.code.elf_dynamic import MOST_WORDS, read_dynamic
from cpuprobe.code.functions import (
    MOST_FOUND,
    MOST_FUNCTIONS,
    NO_CODE,
    ROW,
    Exports,
    Symbols,
)
from cpuprobe.code.go_program import read_go
from cpuprobe.code.hidden import appended, refuse_hidden
from cpuprobe.code.large import LARGE
from cpuprobe.code.making import maker
from cpuprobe.code.needs import Kind
from cpuprobe.code.notes import notes, properties
from cpuprobe.code.program import MACHINES, Binary, CodeBytes
from cpuprobe.code.threads import begun

_MOST_CONSTANTS = 1 << 20
"""Bytes of constants that are held, for who executes functions."""
MOST_CODE = 512 << 20
"""Bytes of executable sections; a browser has about 200 MB, a large Go program 300."""
_MOST_UNDEFINED = 1 << 16
_MOST_SECTIONS = 1 << 16  # st_shndx has 16 bits
_ANSWERS = b"__cpu_model\0__cpu_features2\0_ZN10VM_Version9_featuresE\0"
"""libgcc's and compiler-rt's variables, as __builtin_cpu_supports reads them; and HotSpot's, which
asks in code that it makes itself."""
_MODEL = b"\0__cpu_model\0"
_VALUE, _SYMBOL = struct.Struct("<Q").unpack_from, struct.calcsize("<" + abi.SYMBOL)

_OSABI_WASMTIME = 200  # wasmtime, crates/environ/src/obj.rs, ELFOSABI_WASMTIME
_NT_GNU_PROPERTY_TYPE_0 = 5
_X86_ISA_1_NEEDED, _X86_ISA_1_USED = 0xC0008002, 0xC0010002
_KINDS: dict[int, Kind] = {abi.ET_REL: "object", abi.ET_EXEC: "executable"}
_LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")


def read_elf(source: Source, machine: int = abi.EM_X86_64) -> Binary:
    """Reads an ELF file. Of other machines than one nothing but the header is read.

    Args:
        source: the file.
        machine: EM_X86_64 or EM_AARCH64.

    Raises:
        UnreadError: it holds code, but not as instructions of a processor.
        ArtifactError: not an ELF file, cut off, or an offset points outside of it.
    """
    elf = Elf(source)
    wasmtime = elf.abi == _OSABI_WASMTIME
    known = MACHINES.get(elf.machine, f"ELF machine {elf.machine}")
    if elf.machine == abi.EM_X86_64:
        known = "x86-64" if elf.wide else "x32"
    if elf.machine != machine or not elf.wide or elf.order != "<":
        # The x32 ABI (x86-64 code in a 32-bit file) is not for us either.
        return Binary(
            "x32" if elf.machine == machine == abi.EM_X86_64 else known, "other", wasmtime
        )
    file = Binary(known, _KINDS.get(elf.kind, "library"), wasmtime, elf.entry)
    if elf.kind not in (abi.ET_REL, abi.ET_EXEC, abi.ET_DYN):
        raise ArtifactError(f"ELF: neither program, library nor object file (type {elf.kind})")
    if not (elf.sections or elf.segments):
        raise ArtifactError("ELF: it has no sections: there is nothing to read")
    if not wasmtime:
        refuse_hidden(source, elf)
        rows = _code(elf)
        unwound = _unwound(elf, rows)
        with ExitStack() as waits:
            waits.callback(_read_code(file, elf, rows))
            asked = _asked(elf)
            waits.callback(asked)
            _read_functions(file, elf, unwound)
        file.questions = asked()
        if elf.kind != abi.ET_REL:
            read_dynamic(file, elf)
            few = constants(elf, _MOST_CONSTANTS)
            file.constants = [(section.address, section.data) for section in few]
            file.variables = [*_variables(elf, _MOST_CONSTANTS)]
            file.linked = file.kind == "executable" or bool(file.exports)
            file.appended = appended(source, elf)
        if machine == abi.EM_X86_64:
            _read_properties(file, elf)
            read_go(file, elf)
    return file


_Row = tuple[int, str, int, int, int]
"""Of executable bytes: a section's number and name, address, place in the file, and size."""


def _code(elf: Elf) -> list[_Row]:
    """Where executable bytes are: in sections, or without such in segments."""
    found = [
        (section.number, section.name, section.address, section.offset, section.size)
        for section in elf.sections
        if section.flags & abi.SHF_EXECINSTR and section.type != abi.SHT_NOBITS and section.size
    ] or [
        (-1 - index, "", segment.address, segment.offset, segment.size)
        for index, segment in enumerate(elf.segments)
        if segment.type == abi.PT_LOAD and segment.flags & abi.PF_X and segment.size
    ]
    if sum(size for *_, size in found) > MOST_CODE:
        raise ArtifactError(f"ELF: more than {MOST_CODE >> 20} MiB of code are not read")
    if any(address + size >= 1 << 64 for _, _, address, _, size in found):
        raise ArtifactError("ELF: an executable section lies past the end of memory")
    return sorted(found, key=lambda row: (row[2], row[0]))


def _read_code(file: Binary, elf: Elf, rows: list[_Row]) -> Callable[[], None]:
    """Reads executable bytes, the most of them while other work is done.

    Returns:
        What waits until all are there.
    """
    largest = max(rows, key=lambda row: row[4], default=None)
    what = "an executable section"
    bodies = {row: elf.read(*row[3:], what) for row in rows if row is not largest}
    wait: Callable[[], None] = list[int]().clear
    if largest is not None:
        bodies[largest], wait = elf.begin(*largest[3:], what)
    file.code += [CodeBytes(*row[:3], bodies[row]) for row in rows]
    return wait


def _unwound(elf: Elf, rows: list[_Row]) -> Callable[[], bytes | memoryview]:
    """Reads the functions that unwind entries tell of, many of them while other work is done.

    Not of an object file, whose addresses wait.
    """
    found = _eh_frame(elf) if elf.kind != abi.ET_REL else None
    if found is None:
        return bytes
    ranges = [(address, address + size) for _, _, address, _, size in rows]
    read = functools.partial(maker().unwind, *found, ranges)
    return begun(read).result if len(found[0]) >= LARGE else read


def _variables(elf: Elf, most: int) -> Iterator[tuple[int, bytes]]:
    """Memory that may be written to: its address, and what it holds at first."""
    for each in elf.segments:
        if each.type == abi.PT_LOAD and each.flags & abi.PF_W and 0 < each.size <= most:
            most -= each.size
            yield each.address, elf.read(each.offset, each.size, "what is in memory at first")


def _asked(elf: Elf) -> Callable[[], frozenset[int]]:
    """Begins to look for what names /proc/cpuinfo; not in an object file.

    Returns:
        What waits for it, and tells where.
    """

    def look() -> frozenset[int]:
        return frozenset(section.address + at for section, at in questions(elf, MOST_WORDS))

    if elf.kind == abi.ET_REL:
        return frozenset
    large = sum(section.size for section in constants(elf, MOST_WORDS)) >= LARGE
    return begun(look).result if large else functools.cache(look)


def _read_functions(file: Binary, elf: Elf, unwound: Callable[[], bytes | memoryview]) -> None:
    """Reads symbols and unwind entries."""
    make = maker()
    rows = [*_read_symbols(file, elf, make.symbols), unwound()]
    if sum(map(len, rows)) > ROW.size * MOST_FOUND:
        raise ArtifactError(f"ELF: more than {MOST_FUNCTIONS} functions are not read")
    file.functions = make.settled(rows)
    if len(file.functions) > MOST_FUNCTIONS:
        raise ArtifactError(f"ELF: more than {MOST_FUNCTIONS} functions are not read")


def _models(rows: bytes, strings: bytes) -> set[int]:
    """The values of symbols that are named __cpu_model."""
    found = strings.find(_MODEL)
    name = re.escape(struct.pack("<I", found + 1))
    places = (match.start() for match in re.finditer(name, rows)) if found >= 0 else ()
    return {_VALUE(rows, at + 8)[0] for at in places if at % _SYMBOL == 0}


def _read_symbols(
    file: Binary, elf: Elf, read: Callable[..., Symbols]
) -> Iterator[bytes | memoryview]:
    """Takes in both symbol tables; the rows of their functions."""
    by_section = {code.index: number for number, code in enumerate(file.code)}
    sections = range(min(len(elf.sections), _MOST_SECTIONS))
    codes = [by_section.get(number, NO_CODE) for number in sections]
    undefined: set[str] = set()
    tables = [elf.section(abi.SHT_SYMTAB), elf.section(abi.SHT_DYNSYM)]
    for table in sorted(filter(None, tables), key=lambda section: section.number):
        strings, rows = elf.symbols(table)
        number = len(file.strings)
        file.strings.append(strings)
        ranges = [code.span for code in file.code]
        found = read(rows, strings, number, codes, ranges, file.kind == "object", _ANSWERS)
        if table.type == abi.SHT_DYNSYM:
            file.relocations.symbols, file.relocations.strings = rows, strings
            file.exports = Exports(number, *found.exports)
        undefined.update(text(strings, name) for name in found.undefined[:_MOST_UNDEFINED])
        file.answers += found.answers
        file.models |= _models(rows, strings) if found.answers else set()
        file.ifuncs += found.ifuncs
        for start, end, _, _, code, _, _ in ROW.iter_unpack(found.objects):
            file.objects.setdefault(code, []).append((start, end))
        yield found.functions
    file.undefined = frozenset(undefined)


def _eh_frame(elf: Elf) -> tuple[bytes, int] | None:
    """The section and its address; without sections through abi.PT_GNU_EH_FRAME (LSB, 10.6.2)."""
    for section in elf.sections:
        if section.name == ".eh_frame" and section.type != abi.SHT_NOBITS:
            return section.data, section.address
    header = elf.segment(abi.PT_GNU_EH_FRAME)
    if header is None or header.size < 8:
        return None
    version, encoding, _, _, pointer = struct.unpack(
        "<BBBBi", elf.read(header.offset, 8, "the header of .eh_frame")
    )
    if version != 1 or encoding != 0x1B:  # relative to itself, 32 bits: what linkers write
        return None
    address = header.address + 4 + pointer
    where = elf.loaded(address)
    return None if where is None else (elf.read(*where, ".eh_frame"), address)


def _read_properties(file: Binary, elf: Elf) -> None:
    holder = elf.segment(abi.PT_GNU_PROPERTY) or next(
        (
            section
            for section in elf.sections
            if section.type == abi.SHT_NOTE and section.name == ".note.gnu.property"
        ),
        None,
    )
    if holder is None:
        return
    needed = used = 0
    for owner, kind, content in notes(elf.read(holder.offset, holder.size, "a note"), 8):
        if owner == b"GNU\0" and kind == _NT_GNU_PROPERTY_TYPE_0:
            for key, value in properties(content):
                needed |= value if key == _X86_ISA_1_NEEDED else 0
                used |= value if key == _X86_ISA_1_USED else 0
    file.isa_needed = tuple(name for bit, name in enumerate(_LEVELS) if needed >> bit & 1)
    file.isa_used = tuple(name for bit, name in enumerate(_LEVELS) if used >> bit & 1)
