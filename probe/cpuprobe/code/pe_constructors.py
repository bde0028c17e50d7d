"""What Windows programs and libraries run when they begin: tables of constructors.

Microsoft's startup code hands `_initterm` the address of a table and the one behind it, of pointers
of which the first is none (CRT sources, `__xc_a` and `__xc_z`). MinGW's runs `__CTOR_LIST__`: -1,
pointers, zero (binutils, scripttempl/pep.sc). Where files are linked neither has a name: they are
known by their form.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Iterable, Iterator

from cpuprobe.code.program import Binary

MOST = 4096
"""Constructors in a table; Arrow's library has 402."""
_MOST_TABLES = 1 << 12
"""Places of a file that look as if there were one."""
# LEA of RCX, the first argument, and RDX, in either order; CALL.
_HANDED = re.compile(
    rb"\x48\x8d(?:\x0d(?P<first>....)\x48\x8d\x15(?P<behind>....)"
    rb"|\x15(?P<behind_first>....)\x48\x8d\x0d(?P<first_behind>....))(?:\xe8|\x48?\xff\x15)",
    re.DOTALL,
)
_LEA = 7  # bytes
# The table's beginning and the place behind it, and what instruction of the two they count from.
_ORDERS = (
    (("first", 0), ("behind", _LEA)),
    (("first_behind", _LEA), ("behind_first", 0)),
)
_BEGINS = re.compile(b"\xff" * 8 + b"(?!\xff)")
Read = Callable[[int, int], bytes]
"""Up to so many bytes at an address."""


def constructors(
    file: Binary, data: Iterable[tuple[str, int, bytes]], read: Read
) -> tuple[int, ...]:
    """The functions in all tables, each once.

    Args:
        file: of which the code is known.
        data: the sections in which MinGW's linker puts a list: names, addresses, contents.
        read: reads the image.
    """
    tables = itertools.chain(_handed(file, read), *(_listed(file, *each[1:]) for each in data))
    return tuple(dict.fromkeys(itertools.chain.from_iterable(tables)))


def _handed(file: Binary, read: Read) -> Iterator[list[int]]:
    """Tables whose beginning and end are handed to one function."""
    for code in file.code:
        for match in itertools.islice(_HANDED.finditer(code.data), _MOST_TABLES):
            at = code.address + match.start() + _LEA
            low, high = (
                at + by + int.from_bytes(match[name], "little", signed=True)
                for name, by in _ORDERS[match["first"] is None]
            )
            size = high - low
            if 0 < size <= 8 * MOST and size % 8 == low % 8 == 0:
                table = array("Q", (content := read(low, size))[: len(content) & ~7])
                found = [*filter(None, table)]
                if 8 * len(table) == size and not table[0] and all(map(file.is_code, found)):
                    yield found


def _listed(file: Binary, address: int, body: bytes) -> Iterator[list[int]]:
    """Tables that begin with -1 and end with zero."""
    for match in itertools.islice(_BEGINS.finditer(body), _MOST_TABLES):
        at = match.end()
        words = array("Q", body[at : min(at + 8 * MOST, len(body) - (len(body) - at) % 8)])
        found = [*itertools.takewhile(file.is_code, words)]
        ends = words[len(found) : len(found) + 1].tolist() == [0]
        if found and ends and (address + at) % 8 == 0:
            yield found
