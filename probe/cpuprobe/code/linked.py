"""The objects of a static library, laid out as a linker does it, so that one search serves them.

Nothing of it could run: only code has bytes. What the search of a library that is loaded looks at
is there: functions at addresses, who calls and takes what, tables of pointers, and of what none of
the objects defines a slot and an entry of a procedure linkage table.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cpuprobe.code import elf as abi
from cpuprobe.code import native_functions
from cpuprobe.code.elf import text
from cpuprobe.code.functions import HIGHEST, NO_CODE, ROW, Name
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.parts import Part, PartSection
from cpuprobe.code.program import Binary, CodeBytes
from cpuprobe.code.resolved import ANSWERS, MODEL, WORD, Definition, Names, Room, TooLargeError

MOST_SYMBOLS = 1 << 19
"""Of all objects; LLVM's largest static library has half as many."""
MOST_OBJECTS, MOST_SECTIONS = 1 << 15, 1 << 17
"""OpenBLAS has half as many objects; their sections of code."""
_PAGE = 4096
_SYMBOL = struct.Struct("<" + abi.SYMBOL)
_RELA = 24
_MAIN = b"main"
_ABSOLUTE, _COMMON = 0xFFF1, 0xFFF2  # SHN_ABS, SHN_COMMON
_WEAK = 2  # STB_WEAK
_SEEN = (0, 3)  # of st_other: STV_DEFAULT, STV_PROTECTED


class Place(NamedTuple):
    """Where a section of code stands.

    Attributes:
        start: its address.
        part: the number of its object.
        moved: how far it was moved.
    """

    start: int
    part: int
    moved: int


class Linked(NamedTuple):
    """Objects that are one file.

    Attributes:
        file: it.
        places: in the order of their addresses; each object begins a page.
        odd: the code uses addresses in ways that are not followed.
    """

    file: Binary
    places: list[Place]
    odd: bool

    def place(self, address: int) -> Place:
        """The last place that begins at an address or before, or the first."""
        after = bisect_right(self.places, address, key=lambda each: each.start)
        return self.places[max(after - 1, 0)]


def link(parts: Sequence[Part]) -> Linked:
    """Lays objects out, and resolves their symbols; their code is changed.

    Of names that several define the first strong one counts, else the first, as with a linker that
    takes all of them in this order.

    Raises:
        TooLargeError: they are more than is linked.
    """
    return _Linker(parts).linked()


class _Linker:
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._count = sum(len(each.symbols) // _SYMBOL.size for each in parts)
        sections = sum(each.code is not None for part in parts for each in part.sections)
        given = (self._count, MOST_SYMBOLS), (len(parts), MOST_OBJECTS), (sections, MOST_SECTIONS)
        if any(count > most for count, most in given):
            raise TooLargeError
        self._room = Room()
        self._names = Names(self._room)
        self._addresses: list[dict[int, int]] = [{} for _ in parts]  # of sections; 0: it has none
        self._rows = array("Q")  # what a loader would fill
        self._is_fixed = self._is_odd = False

    def linked(self) -> Linked:
        """All of it."""
        file = Binary("x86-64", "object", is_windows=any(e.is_windows for e in self._parts))
        places = [*self._lay_out(file)]
        self._names.begin(self._count)
        for addresses, part in zip(self._addresses, self._parts, strict=True):
            for section in part.sections:
                if section.number not in addresses:
                    addresses[section.number] = self._room.take(section.size)
        symbols = [self._read(number, part) for number, part in enumerate(self._parts)]
        initial = [*self._initial(symbols)]
        file.code.append(CodeBytes(len(file.code), ".plt", *self._names.entries()))
        self._functions(file)
        self._export(file)
        self._tell(file)
        main = self._names.known.get(_MAIN)
        initial += [main.address] if main else []
        file.initial = tuple(dict.fromkeys(filter(file.is_code, initial)))
        return Linked(file, places, self._is_odd)

    def _lay_out(self, file: Binary) -> Iterator[Place]:
        """Gives code its places, but for what a linker would take of another object."""
        groups: set[bytes] = set()
        for number, part in enumerate(self._parts):
            addresses = self._addresses[number]
            for at, sections in part.groups:
                name = self._names.read(part.strings, at)
                addresses.update(dict.fromkeys(sections, 0) if name in groups else {})
                groups.add(name)
            self._room.take(0, _PAGE)
            for section in part.sections:
                if section.code is not None and section.number not in addresses:
                    start = addresses[section.number] = self._room.take(section.size)
                    file.code.append(CodeBytes(len(file.code), ".text", start, section.code))
                    yield Place(start, number, start - section.address)

    def _read(self, number: int, part: Part) -> tuple[list[int], list[tuple[int, bytes]]]:
        """Where the symbols of an object are, and which of them are told of by their names."""
        addresses = self._addresses[number]
        values: list[int] = []
        named: list[tuple[int, bytes]] = []
        for name, info, other, section, value, size in _SYMBOL.iter_unpack(part.symbols):
            binding, start = info >> 4, addresses.get(section)
            if section == _COMMON:
                address = self._room.take(size)
            elif section == _ABSOLUTE:
                address = value
            else:
                address = start + value & HIGHEST if start else 0
            if binding and name:
                said = self._names.read(part.strings, name)
                named.append((len(values), said))
                if address:
                    is_weak, is_seen = binding == _WEAK or section == _COMMON, other & 3 in _SEEN
                    found = Definition(address, is_weak, info & 15, is_seen, (number, name))
                    self._names.define(said, found)
            values.append(address)
        return values, named

    def _initial(self, symbols: list[tuple[list[int], list[tuple[int, bytes]]]]) -> Iterator[int]:
        """Puts addresses into all sections; yields those of what every run executes."""
        for number, part in enumerate(self._parts):
            given = self._given(*symbols[number])
            for section in part.sections:
                start = self._addresses[number][section.number]
                if start and section.table:
                    found = self._relocate(section, start, given)
                    self._rows += found
                    yield from found[2::3] if section.starts else ()

    def _given(self, values: list[int], named: list[tuple[int, bytes]]) -> array[int]:
        """The symbols of an object for C."""
        got = self._room.take(WORD * len(values), WORD)
        given = array("Q", bytes(3 * WORD * len(values)))
        given[::3] = array("Q", values)
        given[1::3] = array("Q", range(got, got + WORD * len(values), WORD))
        for at, name in named:
            found = self._names.meaning(name)
            given[3 * at] = found.address
            if found.slot:
                given[3 * at + 1 : 3 * at + 3] = array("Q", found[1:])
        return given

    def _relocate(self, section: PartSection, start: int, symbols: array[int]) -> array[int]:
        """Puts addresses into a section; what a loader would fill."""
        rows = len(section.table) // _RELA
        room = array("Q", bytes(_RELA * rows))
        to_room = ffi.from_buffer("uint64_t[]", room)
        made = ffi.new("struct relocate_made *", {"rows": to_room, "room": rows})
        code = ffi.NULL if section.code is None else ffi.from_buffer("uint8_t[]", section.code)
        table = ffi.from_buffer("uint8_t[]", section.table)
        given = ffi.from_buffer("struct relocate_symbol[]", symbols)
        lib.relocate(table, len(table), given, len(given), code, section.size, start, made)
        self._is_fixed |= made.absolute > 0
        self._is_odd |= made.odd > 0
        return room[: 3 * made.count]

    def _functions(self, file: Binary) -> None:
        """Takes in the functions of all objects."""
        rows = []
        before = 0
        for number, part in enumerate(self._parts):
            addresses = self._addresses[number]
            code = [e for e in part.sections if e.code is not None and addresses[e.number]]
            codes = [NO_CODE] * (max((each.number for each in code), default=-1) + 1)
            for at, each in enumerate(code):
                codes[each.number] = at
            ranges = [(addresses[e.number], addresses[e.number] + e.size) for e in code]
            found = native_functions.symbols(
                part.symbols, part.strings, number, codes, ranges, True, b""
            )
            words = array("I", bytes(found.functions))
            words[6::8] = array("I", [before + at for at in words[6::8]])  # the range of code
            rows.append(words.tobytes())
            for start, end, _, _, at, _, _ in ROW.iter_unpack(found.objects):
                file.objects.setdefault(before + at, []).append((start, end))
            before += len(code)
            file.ifuncs += found.ifuncs
            file.strings.append(part.strings)
        file.functions = native_functions.settled(rows)

    def _export(self, file: Binary) -> None:
        """What others may call.

        What is hidden is for the library itself, unless all of it is: a compiler was told so.
        """
        functions = [
            known
            for known in self._names.known.values()
            if known.kind in (abi.STT_NOTYPE, abi.STT_FUNC) and file.is_code(known.address)
        ]
        seen = [known for known in functions if known.is_seen]
        exports: dict[int, list[Name]] = {}
        for known in seen or functions:
            exports.setdefault(known.address, []).append(known.name)
        file.exports = exports
        file.linked = bool(exports)

    def _tell(self, file: Binary) -> None:
        """What else a search asks for."""
        strings, symbols = bytearray(b"\0"), bytearray()
        for name in self._names.foreign:
            symbols += _SYMBOL.pack(len(strings), 0, 0, 0, 0, 0)
            strings += name + b"\0"
        file.undefined = frozenset(text(name, 0) for name in self._names.foreign)
        moved = file.relocations
        moved.symbols, moved.strings = bytes(symbols), bytes(strings)
        moved.tables += [self._names.rows.tobytes(), self._rows.tobytes()]
        moved.words += [(0, b"")] if self._is_fixed else []
        answers = {name: self._names.known[name] for name in ANSWERS & self._names.known.keys()}
        file.answers = [each.address for each in answers.values()]
        file.models = {answers[MODEL].address} if MODEL in answers else set()
        file.questions = frozenset(
            self._addresses[number][section.number] + at
            for number, part in enumerate(self._parts)
            for section in part.sections
            for at in section.questions
        )
