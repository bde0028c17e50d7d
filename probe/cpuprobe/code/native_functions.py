"""Tables of functions, made in C (native/scan/functions.h).

Where the package was built without its extension plain_functions makes the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

from cpuprobe.code.functions import ROW, SOURCES, Cut, FunctionTable, Symbols
from cpuprobe.code.go import Table
from cpuprobe.code.lists import Pairs, filled, new, pairs
from cpuprobe.code.native import ffi, lib
from cpuprobe.code.program import CodeBytes

_RANGE = 24
_SYMBOL, _ENTRY = 24, 8
"""Bytes of an Elf64_Sym and an Elf64_Rela, and of the shortest entry of .eh_frame that is read."""
_AT_FIRST = 1 << 14
"""Functions for which there is room, before it is known how many have a name that is sought."""
_MANY = 1 << 20
"""Room for as many is taken before they are counted: memory that is not filled costs no time."""


def _bytes(content: bytes) -> Any:
    return ffi.from_buffer("uint8_t[]", content)


def _filled(fill: Callable[[], object], most: int, *lists: Any) -> list[memoryview]:
    """Lists that C fills, none with more than `most`.

    Where that might be much it counts them first, and comes again when there is room.
    """
    if most > _MANY:
        fill()
    made = []
    for each in lists:
        kind, room = ffi.typeof(each.all).item, each.count if most > _MANY else most
        memory = new(f"{kind.cname}[]", room)
        each.all, each.room, each.count = memory, room, 0
        made.append((each, ffi.buffer(memory), ffi.sizeof(kind)))
    fill()
    return [memoryview(memory)[: each.count * size] for each, memory, size in made]


def _column(links: memoryview, number: int) -> Sequence[int]:
    return array("Q", bytes(links))[number::2]


def symbols(
    rows: bytes,
    strings: bytes,
    number: int,
    codes: Sequence[int],
    code: Sequence[tuple[int, int]],
    is_object: bool,
    answers: bytes,
) -> Symbols:
    """Reads a table of Elf64_Sym.

    Args:
        rows: the table.
        strings: its names.
        number: of the string table.
        codes: of each section the number of its range of code; NO_CODE: it has none.
        code: where each range of code starts and ends.
        is_object: addresses count from their sections.
        answers: names of variables, each with its NUL.
    """
    given, found = ffi.new("struct symbols *"), ffi.new("struct symbols_found *")
    table, names, wanted = _bytes(rows), _bytes(strings), _bytes(answers)
    code_of = ffi.new("uint32_t[]", list(codes))
    ranges = ffi.new("struct links_range[]", list(code))
    given.rows, given.size = table, len(table)
    given.strings, given.strings_size, given.number = names, len(names), number
    given.codes, given.sections = code_of, len(code_of)
    given.code, given.ranges = ranges, len(ranges)
    given.answers, given.answers_size, given.is_object = wanted, len(wanted), is_object

    def fill() -> None:
        found.ifuncs = 0
        lib.functions_symbols(given, found)

    lists = found.functions, found.objects, found.undefined, found.exports, found.answers
    functions, objects, undefined, exports, answering = _filled(fill, len(rows) // _SYMBOL, *lists)
    return Symbols(
        functions,
        objects,
        _column(undefined, 1),
        (
            _column(exports, 0),
            _column(exports, 1),
            pairs((found.exports, ffi.from_buffer("struct link[]", exports))),
        ),
        _column(answering, 1),
        found.ifuncs,
    )


def relocations(table: bytes, kind: int, low: int, high: int) -> tuple[int, Sequence[int]]:
    """Of a table of Elf64_Rela how many rows are of a kind, and which fill memory in a range."""
    within, rows = ffi.new("struct links *"), _bytes(table)
    count = 0

    def fill() -> None:
        nonlocal count
        count = lib.functions_relocations(rows, len(rows), kind, low, high, within)

    found = _column(_filled(fill, len(rows) // _SYMBOL, within)[0], 1)
    return count, found


def unwind(data: bytes, address: int, code: Sequence[tuple[int, int]]) -> memoryview:
    """The rows of functions in an .eh_frame section.

    Args:
        data: the section's bytes.
        address: where it is loaded.
        code: where each range of code starts and ends.
    """
    made = ffi.new("struct functions *")
    content, ranges = _bytes(data), ffi.new("struct links_range[]", list(code))

    def fill() -> None:
        lib.functions_unwind(content, len(content), address, ranges, len(ranges), made)

    return _filled(fill, len(data) // _ENTRY, made)[0]


def go(
    table: Table, number: int, code: Sequence[tuple[int, int]]
) -> tuple[bytes | memoryview, tuple[int, int]] | None:
    """Reads Go's table of functions.

    Args:
        table: where they are in it.
        number: of the table as one of strings.
        code: where each range of code starts and ends, in order.

    Returns:
        The rows of those in code; and where the first of all begins and the last ends. None where
        they are not in order, begin at 0 or lie beyond all memory.
    """
    content, *head = table
    data, ranges = _bytes(content), ffi.new("struct links_range[]", list(code))
    given = ffi.new("struct go_table *", (data, ranges, len(data), *head, number, len(ranges)))
    made, is_whole = ffi.new("struct functions *"), 0

    def fill() -> None:
        nonlocal is_whole
        is_whole = lib.functions_go(given, made)

    rows = _filled(fill, table.functions, made)[0]
    return (rows, (given.start, given.end)) if is_whole else None


def named(table: FunctionTable, strings: bytes, number: int, words: bytes) -> Pairs:
    """Functions whose name has a word; of each a bit for each of the words that it has.

    Args:
        table: the functions.
        strings: the table of strings of a number.
        number: that number; those are left out whose name is elsewhere.
        words: each with its NUL, of at most 64 letters in all, none in upper case.
    """
    functions = ffi.from_buffer("struct function[]", table.rows)
    content, sought = _bytes(strings), _bytes(words)

    def fill(found: Any) -> None:
        lib.functions_named(
            functions, len(functions), content, len(content), number, sought, len(sought), found
        )

    return pairs(*filled(fill, _AT_FIRST))


def settled(found: Sequence[bytes | memoryview]) -> FunctionTable:
    """The functions of symbol tables and then of unwind entries, in order and each once.

    Of symbols the first that tells of an end has the name; unwind entries tell of landing pads, and
    of ends that no symbol tells of; those of a part of a function whose end a symbol tells of begin
    none.
    """
    count = sum(map(len, found)) // ROW.size
    every, spare = new("struct function[]", count), new("struct function[]", count)
    at = 0
    for rows in found:
        ffi.memmove(every + at, rows, len(rows))
        at += len(rows) // ROW.size
    count = lib.functions_settle(every, spare, count)
    return FunctionTable(memoryview(ffi.buffer(every))[: ROW.size * count])


def cut(rows: memoryview, code: CodeBytes, objects: Sequence[tuple[int, int]], work: int) -> Cut:
    """Cuts a range of code into functions and what no function claims.

    Args:
        rows: its functions, of a FunctionTable.
        code: the range.
        objects: ranges of data in it, in order, without overlap.
        work: bytes of what was cut before.
    """
    count = len(rows) // ROW.size
    room = count + len(objects) + 1
    made = ffi.new("struct functions_cut *", {"work": work})
    known, known_before = new("struct scan_range[]", count), new("uint64_t[]", count)
    gaps, gaps_before = new("struct scan_range[]", room), new("uint64_t[]", room)
    made.known, made.known_before = known, known_before
    made.gaps, made.gaps_before = gaps, gaps_before
    functions, data = ffi.from_buffer("struct function[]", rows), _bytes(code.data)
    ranges = ffi.new("struct links_range[]", list(objects))
    lib.functions_cut(functions, count, data, len(data), code.address, ranges, len(ranges), made)
    amounts: dict[str, int] = {source: made.bytes[at] for at, source in enumerate(SOURCES)}

    def words(memory: Any, size: int) -> memoryview:
        return memoryview(ffi.buffer(memory, size)).cast("Q")

    return Cut(
        words(known, _RANGE * made.knowns),
        words(known_before, 8 * made.knowns),
        words(gaps, _RANGE * made.unknowns),
        words(gaps_before, 8 * made.unknowns),
        made.work,
        {**amounts, "padding": made.padding, "data": made.data},
        made.large,
    )
