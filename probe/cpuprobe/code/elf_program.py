"""ELF programs, libraries and object files: executable bytes, functions, notes.

x86 notes: x86-64 psABI, "Program Property".
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from cpuprobe.code import elf as abi
from cpuprobe.code import go
from cpuprobe.code.cpuinfo import questions
from cpuprobe.code.eh_frame import read_unwind
from cpuprobe.code.elf import ArtifactError, Elf, Source, notes, text
from cpuprobe.code.needs import Kind
from cpuprobe.code.program import MACHINES, NAMELESS, Binary, CodeBytes, Name, Range

MOST_CODE = 512 << 20
"""Bytes of executable sections; a browser has about 200 MB, a large Go program 300."""
MOST_FUNCTIONS = 3 << 19
"""A browser with all its symbols has about half as many."""
_MOST_UNDEFINED = 1 << 16
_ANSWERS = b"__cpu_model\0", b"__cpu_features2\0"
"""libgcc's and compiler-rt's variables, as __builtin_cpu_supports reads them."""
MOST_WORDS = 32 << 20
"""Bytes of static data in which addresses are looked for."""

_OSABI_WASMTIME = 200  # wasmtime, crates/environ/src/obj.rs, ELFOSABI_WASMTIME
_STB_GLOBAL = 1
# of st_other: STV_INTERNAL is 1, STV_HIDDEN 2, STV_PROTECTED 3; those of .dynsym are seen
_HIDDEN = 1
_NT_GNU_PROPERTY_TYPE_0 = 5
_X86_ISA_1_NEEDED, _X86_ISA_1_USED = 0xC0008002, 0xC0010002
_DT_INIT, _DT_INIT_ARRAY, _DT_INIT_ARRAYSZ, _DT_FLAGS_1 = 12, 25, 27, 0x6FFFFFFB
_DF_1_PIE = 0x08000000
_MOST_INITIAL = 1024
# R_X86_64_64 (R_AARCH64_ABS64), RELATIVE, IRELATIVE (AAELF64, 5.7)
_RELOCATIONS = {abi.EM_X86_64: (1, 8, 37), abi.EM_AARCH64: (257, 1027, 1032)}
_KINDS: dict[int, Kind] = {abi.ET_REL: "object", abi.ET_EXEC: "executable"}
_LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")


def read_elf(source: Source, machine: int = abi.EM_X86_64) -> Binary:
    """Reads an ELF file. Of other machines than one nothing but the header is read.

    Args:
        source: the file.
        machine: EM_X86_64 or EM_AARCH64.

    Raises:
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
    if not wasmtime:
        _read_code(file, elf)
        _read_symbols(file, elf)
        if elf.kind != abi.ET_REL:  # the addresses in an object file wait for relocation
            _read_unwind(file, elf)
            _read_dynamic(file, elf)
            file.questions = questions(elf, MOST_WORDS)
            file.linked = file.kind == "executable" or bool(file.exports)
        if machine == abi.EM_X86_64:
            _read_properties(file, elf)
            _read_go(file, elf)
    return file


def _read_go(file: Binary, elf: Elf) -> None:
    for section in elf.sections:
        if section.name == ".go.buildinfo" and section.type == abi.SHT_PROGBITS:
            content = elf.read(section.offset, min(section.size, go.MOST), ".go.buildinfo")
            file.go = go.level(content) or ""


def _read_code(file: Binary, elf: Elf) -> None:
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
    for index, name, address, offset, size in sorted(found, key=lambda row: (row[2], row[0])):
        if address + size >= 1 << 64:
            raise ArtifactError("ELF: an executable section lies past the end of memory")
        body = elf.read(offset, size, "an executable section")
        file.code.append(CodeBytes(index, name, address, body))


def _read_symbols(file: Binary, elf: Elf) -> None:
    by_section = {code.index: number for number, code in enumerate(file.code)}
    undefined: set[str] = set()
    tables = [elf.section(abi.SHT_SYMTAB), elf.section(abi.SHT_DYNSYM)]
    for table in sorted(filter(None, tables), key=lambda section: section.number):
        strings, rows = elf.symbols(table)
        file.strings.append(strings)
        dynamic = table.type == abi.SHT_DYNSYM
        if dynamic:
            file.relocations.symbols, file.relocations.strings = table.data, strings
        for name, info, other, section, value, size in rows:
            if section == 0:
                if name and len(undefined) < _MOST_UNDEFINED:
                    undefined.add(text(strings, name))
            elif info & 0xF == abi.STT_OBJECT and strings.startswith(_ANSWERS, name):
                file.answers.append(value)
            elif section in by_section:
                named = len(file.strings) - 1, name
                _symbol(file, by_section[section], named, info, value, size)
                seen = info >> 4 and not other & _HIDDEN
                if dynamic and seen and info & 0xF in (abi.STT_NOTYPE, abi.STT_FUNC):
                    file.exports.setdefault(value, []).append(named)
    file.undefined = frozenset(undefined)


def _symbol(file: Binary, number: int, name: Name, info: int, value: int, size: int) -> None:
    """Takes in one symbol of an executable section."""
    kind = info & 0xF
    code = file.code[number]
    start = value + code.address if file.kind == "object" else value
    if not code.address <= start < code.address + len(code.data):
        return
    if kind == abi.STT_OBJECT and size:
        file.objects.setdefault(number, []).append((start, start + size))
    if kind == abi.STT_NOTYPE and (info >> 4 != _STB_GLOBAL or size):
        return  # labels inside a function, or of data
    if kind not in (abi.STT_NOTYPE, abi.STT_FUNC, abi.STT_GNU_IFUNC):
        return
    file.ifuncs += kind == abi.STT_GNU_IFUNC
    functions = file.functions.setdefault(number, {})
    known = functions.get(start)
    if known is None or (size and not known.end):
        _bounded(functions)
        functions[start] = Range(start, start + size if size else 0, name, "symbol", False)


def _bounded(functions: dict[int, Range]) -> None:
    if len(functions) >= MOST_FUNCTIONS:
        raise ArtifactError(f"ELF: more than {MOST_FUNCTIONS} functions are not read")


def _read_unwind(file: Binary, elf: Elf) -> None:
    found = _eh_frame(elf)
    if found is None:
        return
    starts = [*(code.address for code in file.code), 1 << 64]
    low = high = 0
    functions: dict[int, Range] = {}
    for start, end, lsda in read_unwind(*found):
        if not low <= start < high:  # in another section than the entry before
            number = bisect_right(starts, start) - 1
            if number < 0:
                continue
            low = starts[number]
            high = min(low + len(file.code[number].data), starts[number + 1])
            functions = file.functions.setdefault(number, {})
            if start >= high:
                continue
        known = functions.get(start)
        if known is None:
            _bounded(functions)
            functions[start] = Range(start, end, NAMELESS, "unwind", lsda)
        elif lsda or not known.end:
            functions[start] = Range(start, known.end or end, known.name, known.source, lsda)


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
            for key, value in _properties(content):
                needed |= value if key == _X86_ISA_1_NEEDED else 0
                used |= value if key == _X86_ISA_1_USED else 0
    file.isa_needed = tuple(name for bit, name in enumerate(_LEVELS) if needed >> bit & 1)
    file.isa_used = tuple(name for bit, name in enumerate(_LEVELS) if used >> bit & 1)


def _properties(body: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position + 8 <= len(body):
        key, size = struct.unpack_from("<II", body, position)
        if size == 4 and position + 12 <= len(body):
            yield key, struct.unpack_from("<I", body, position + 8)[0]
        position += 8 + (size + 7 & ~7)


def _read_dynamic(file: Binary, elf: Elf) -> None:
    """What is a program: many libraries have an entry point too, set by old linkers."""
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
    start, size = found.get(_DT_INIT_ARRAY, 0), found.get(_DT_INIT_ARRAYSZ, 0)
    slots = dict.fromkeys(range(start, start + min(size, 8 * _MOST_INITIAL) & ~7, 8), 0)
    where = elf.loaded(start) if slots else None
    if where is not None:
        content = elf.read(
            where[0], min(8 * len(slots), where[1]) & ~7, "the array of DT_INIT_ARRAY"
        )
        slots.update(zip(slots, struct.unpack(f"<{len(content) // 8}Q", content), strict=False))
    _read_relocations(file, elf, slots)
    if elf.kind == abi.ET_EXEC:
        _read_words(file, elf)
    first = [found[_DT_INIT]] if _DT_INIT in found else []
    file.initial = tuple(dict.fromkeys([*first, *filter(None, slots.values())]))


def _read_relocations(file: Binary, elf: Elf, slots: dict[int, int]) -> None:
    """Counts functions chosen at load time, and puts addresses into the slots they belong in."""
    word, relative, chosen = _RELOCATIONS[elf.machine]
    for section in elf.sections:
        if section.name in (".got", ".got.plt"):
            file.relocations.of_code.append((section.address, section.address + section.size))
        if section.type == abi.SHT_RELA and section.size % 24 == 0:
            content = section.data
            file.relocations.tables.append(content)
            words = memoryview(content).cast("Q")
            # r_info is the second of three words, its low 32 bits the type.
            kinds = words.cast("B").cast("I")[2::6].tolist()
            file.ifuncs += kinds.count(chosen)
            for row in [at for at, slot in enumerate(words[::3].tolist()) if slot in slots]:
                place, info, addend = words[3 * row : 3 * row + 3]
                if kinds[row] == relative:
                    slots[place] = addend
                elif kinds[row] == word:
                    slots[place] = _symbol_value(elf, info >> 32) + addend


def _read_words(file: Binary, elf: Elf) -> None:
    """Static data of a program that does not move: addresses stand in it as they are."""
    left = MOST_WORDS
    for section in elf.sections:
        is_data = section.flags & abi.SHF_ALLOC and not section.flags & abi.SHF_EXECINSTR
        if is_data and section.type == abi.SHT_PROGBITS and 8 <= section.size <= left:
            left -= section.size
            file.relocations.words.append((section.address, section.data))


def _symbol_value(elf: Elf, number: int) -> int:
    """The address of a dynamic symbol; 0 if it is another file's."""
    table = elf.section(abi.SHT_DYNSYM)
    if table is None or 24 * number + 24 > table.size:
        return 0
    row = elf.read(table.offset + 24 * number, 24, "a symbol")
    return int.from_bytes(row[8:16], "little")
