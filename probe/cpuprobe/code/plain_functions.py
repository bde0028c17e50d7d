"""Tables of functions, made in Python: what native_functions makes in C, where there is none.

The functions here take and give what those of the same names there do.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from cpuprobe.code import elf as abi
from cpuprobe.code.eh_frame import read_unwind
from cpuprobe.code.functions import (
    NAMELESS,
    NO_CODE,
    ROW,
    SOURCES,
    Cut,
    FunctionTable,
    Range,
    Symbols,
    packed,
    unpacked,
)
from cpuprobe.code.go import Table
from cpuprobe.code.lists import Pairs
from cpuprobe.code.needs import LARGE
from cpuprobe.code.program import CodeBytes

_SEEN = (0, 3)  # of st_other: STV_DEFAULT, STV_PROTECTED; STV_INTERNAL is 1, STV_HIDDEN 2
_STB_GLOBAL = 1

# What assemblers and linkers put between functions: zeros, INT3, NOP in all lengths (SDM vol. 2B,
# NOP, "Recommended Multi-Byte Sequence"). It cannot backtrack far.
_PADDING = re.compile(
    rb"(?:[\x00\x90\xcc]|\x66+\x90"
    rb"|[\x66\x2e]*\x0f\x1f(?:\x00|\x40\x00|\x44\x00\x00|\x80\x00{4}|\x84\x00{5}))*"
)
_LONGEST_PADDING = 64
_SHN_LORESERVE = 0xFF00


def symbols(
    rows: bytes,
    strings: bytes,
    number: int,
    codes: Sequence[int],
    code: Sequence[tuple[int, int]],
    is_object: bool,
    answers: bytes,
) -> Symbols:
    """Reads a table of Elf64_Sym."""
    variables = tuple(each + b"\0" for each in answers.split(b"\0")[:-1])
    functions, objects = bytearray(), bytearray()
    undefined, exported, names, answering = array("Q"), array("Q"), array("Q"), array("Q")
    ends = [end for _, end in code]
    ifuncs = 0
    for name, info, other, section, value, size in struct.iter_unpack("<" + abi.SYMBOL, rows):
        kind, binding = info & 0xF, info >> 4
        where = codes[section] if section < len(codes) else NO_CODE
        is_function = kind in (abi.STT_FUNC, abi.STT_GNU_IFUNC)
        if is_function and section < _SHN_LORESERVE and not is_object:
            # patchelf moves sections and leaves their old numbers in symbols.
            at = bisect_right(ends, value)
            where = at if at < len(code) and code[at][0] <= value else where
        if section == 0:
            undefined.extend((name,) if name else ())
        elif kind == abi.STT_OBJECT and strings[name : name + 64].startswith(variables):
            answering.append(value)
        elif where != NO_CODE:
            low, high = code[where]
            start = value + low if is_object else value
            if kind in (abi.STT_NOTYPE, abi.STT_FUNC) and binding and other & 3 in _SEEN:
                exported.append(value)
                names.append(name)
            if not low <= start < high:
                continue
            end = start + size if size else 0
            row = packed(Range(start, end, (number, name), "symbol", False), where)
            # Other labels stand inside a function, or are of data.
            label = kind == abi.STT_NOTYPE and binding == _STB_GLOBAL and not size
            if kind == abi.STT_OBJECT and size:
                objects += row
            elif label or is_function:
                ifuncs += kind == abi.STT_GNU_IFUNC
                functions += row
    order = sorted(range(len(exported)), key=exported.__getitem__)
    named = Pairs(*([column[at] for at in order] for column in (exported, names)))
    return Symbols(
        bytes(functions), bytes(objects), undefined, (exported, names, named), answering, ifuncs
    )


def relocations(table: bytes, kind: int, low: int, high: int) -> tuple[int, Sequence[int]]:
    """Of a table of Elf64_Rela how many rows are of a kind, and which fill memory in a range."""
    words = memoryview(table).cast("Q")
    # r_info is the second of three words, its low 32 bits the type.
    kinds = words.cast("B").cast("I")[2::6].tolist()
    places = enumerate(words[::3].tolist())
    return kinds.count(kind), [row for row, place in places if low <= place < high]


def unwind(data: bytes, address: int, code: Sequence[tuple[int, int]]) -> bytes:
    """The rows of functions in an .eh_frame section."""
    starts = [*(start for start, _ in code), 1 << 64]
    rows = bytearray()
    for start, end, lsda in read_unwind(data, address):
        number = bisect_right(starts, start) - 1
        if number >= 0 and start < min(code[number][1], starts[number + 1]):
            rows += packed(Range(start, end, NAMELESS, "unwind", lsda), number)
    return bytes(rows)


def go(
    table: Table, number: int, code: Sequence[tuple[int, int]]
) -> tuple[bytes, tuple[int, int]] | None:
    """Reads Go's table of functions."""
    content, first, count, base, entries, names, width = table
    half, size = width // 2, len(content)

    def number_at(at: int, width: int) -> int:
        known = 0 <= at <= size - width
        return int.from_bytes(content[at : at + width], "little") if known else size

    places = range(first, first + (count + 1) * width, width)
    starts = [base + number_at(at, half) for at in places]
    if starts[0] == 0 or starts[-1] >= 1 << 64 or any(map(int.__gt__, starts, starts[1:])):
        return None
    rows = bytearray()
    begins = [start for start, _ in code]
    for at, start, end in zip(places, starts, starts[1:], strict=False):
        which = bisect_right(begins, start) - 1
        if which >= 0 and start < code[which][1]:
            name = names + number_at(entries + number_at(at + half, half) + half, 4)
            rows += packed(Range(start, end, (number, min(name, size)), "symbol", False), which)
    return bytes(rows), (starts[0], starts[-1])


def settled(found: Sequence[bytes | memoryview]) -> FunctionTable:
    """The functions of symbol tables and then of unwind entries, in order and each once."""
    made: dict[int, dict[int, Range]] = {}
    for row in ROW.iter_unpack(b"".join(found)):
        further, functions = unpacked(row), made.setdefault(row[4], {})
        known = functions.get(further.start)
        if known is None:
            functions[further.start] = further
        elif further.source == "symbol":
            if further.end and not known.end:
                functions[further.start] = further
        elif further.lsda or not known.end:
            end = known.end or further.end
            functions[further.start] = known._replace(end=end, lsda=further.lsda)
    return FunctionTable.of({number: _whole(functions) for number, functions in made.items()})


def _whole(functions: dict[int, Range]) -> dict[int, Range]:
    """Functions without unwind entries of a part of one whose end a symbol tells of."""
    made: dict[int, Range] = {}
    last = Range(0, 0, NAMELESS, None, False)
    for start in sorted(functions):
        each = functions[start]
        if each.source == "unwind" and last.source == "symbol" and start < last.end:
            last = last._replace(lsda=last.lsda or each.lsda)
        else:
            last = each
        made[last.start] = last
    return made


def cut(rows: memoryview, code: CodeBytes, objects: Sequence[tuple[int, int]], work: int) -> Cut:
    """Cuts a range of code into functions and what no function claims."""
    amounts: dict[str, int] = dict.fromkeys((*SOURCES, "padding", "data"), 0)
    functions = [unpacked(row) for row in ROW.iter_unpack(rows)]
    known = list(_functions(code, functions, objects))
    gaps = [Range(*gap, NAMELESS, None, False) for gap in _gaps(known, code, objects, amounts)]
    for each in known:
        amounts[each.source or ""] += each.end - each.start
    large = sum(each.end - each.start >= LARGE for each in known)
    known_before, work = _before(known, work)
    gaps_before, work = _before(gaps, work)
    return Cut(_words(known), known_before, _words(gaps), gaps_before, work, amounts, large)


def _words(ranges: Sequence[Range]) -> array[int]:
    words = array("Q")
    for start, end, _, source, lsda in ranges:
        words.extend((start, end, SOURCES.index(source or "sweep") | lsda << 32))
    return words


def _before(ranges: Sequence[Range], work: int) -> tuple[list[int], int]:
    *before, work = accumulate((each.end - each.start for each in ranges), initial=work)
    return before, work


def _functions(
    code: CodeBytes, functions: Sequence[Range], objects: Sequence[tuple[int, int]]
) -> Iterator[Range]:
    """The functions without overlap, and without what a symbol says is data."""
    stop = code.end
    data = [(stop, stop), *reversed(objects)]
    following = [each.start for each in functions[1:]] + [stop]
    for function, behind in zip(functions, following, strict=False):
        start = function.start
        while data[-1][1] <= start and len(data) > 1:
            data.pop()
        if not data[-1][0] <= start < data[-1][1]:
            end = min(function.end or behind, behind, data[-1][0])
            if end > start:
                yield function._replace(end=end)


def _gaps(
    known: Sequence[Range],
    code: CodeBytes,
    objects: Sequence[tuple[int, int]],
    amounts: dict[str, int],
) -> list[tuple[int, int]]:
    """What no function claims and is no padding. Bytes are counted in `amounts`."""
    gaps: list[tuple[int, int]] = []
    stop = code.end
    ends = [code.address, *(each.end for each in known)]
    for at, start in zip(ends, [*(each.start for each in known), stop], strict=True):
        if start > at and start < stop and _is_padding(code, at, start):
            amounts["padding"] += start - at
        elif start > at:
            gaps += _without_data(at, start, objects, amounts)
    left = [gap for gap in gaps if not _is_padding(code, *gap)]
    amounts["padding"] += sum(end - start for start, end in gaps)
    amounts["padding"] -= sum(end - start for start, end in left)
    return left


def _is_padding(code: CodeBytes, start: int, end: int) -> bool:
    between = code.between(start, min(end, start + _LONGEST_PADDING + 1))
    return len(between) <= _LONGEST_PADDING and _PADDING.fullmatch(between) is not None


def _without_data(
    start: int, end: int, objects: Sequence[tuple[int, int]], amounts: dict[str, int]
) -> Iterator[tuple[int, int]]:
    """A gap without what a symbol says is data."""
    at = start
    for index in range(max(0, bisect_right(objects, (start, 0)) - 1), len(objects)):
        low, high = objects[index]
        if low >= end:
            break
        first, last = max(low, at), min(high, end)
        if first >= last:
            continue
        amounts["data"] += last - first
        if first > at:
            yield at, first
        at = last
    if at < end:
        yield at, end
