"""Whether an exported function is one like others, of a file that was built for a newer CPU.

One that only some callers may call, as they have asked, is something else: it stands in a table, or
what calls it does, or others do that are called the same but for the last word; it handles vectors,
or what stands beside it does; or it is the copy of an inline function, which others have too, for
the CPUs that each of them was built for.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterator, Sequence

from cpuprobe.code import elf as abi
from cpuprobe.code.arguments import leaves_vector, takes_vectors
from cpuprobe.code.elf import LONGEST_NAME
from cpuprobe.code.functions import Exports
from cpuprobe.code.links import Links
from cpuprobe.code.program import Binary

_SYMBOL = struct.calcsize("<" + abi.SYMBOL)
_WEAK = 2  # STB_WEAK
_WORD = 8
"""Letters of a word that tells functions apart which are for different CPUs."""
_BESIDE = 2
_MOST_ABOVE = 64
"""Functions above one of which it is asked whether they stand in tables."""


def is_ordinary(file: Binary, links: Links, chain: Sequence[int]) -> bool:
    """Whether a function that a file exports is one like others.

    Args:
        file: it.
        links: its.
        chain: where the function starts, and those through which it comes to a feature; if any.
    """
    beside = [links.starts[at] for at in _around(links, chain[-1])] if chain else []
    if not chain or any(_handles_vectors(file, links, each) for each in (*chain, *beside)):
        return False
    start = chain[0]
    if _is_copy(file, start):
        return False
    if links.is_in_use(start) or any(links.is_in_use(each) for each in _called_alike(file, start)):
        return False
    return _is_called(file, links, start)


def _is_called(file: Binary, links: Links, start: int) -> bool:
    """Whether what calls a function does not stand in tables, or another export does as well."""
    above, pending, held = {start}, deque([start]), False
    while pending and len(above) < _MOST_ABOVE:
        each = pending.popleft()
        if links.is_in_use(each):
            held = True
            continue
        if each != start and each in file.exports:
            return True
        callers = filter(None, map(links.function, links.callers(each)))
        fresh = {caller for caller, _ in callers} - above
        above |= fresh
        pending += fresh
    return not pending and not held


def _around(links: Links, start: int) -> range:
    """The numbers of functions beside one, of the same source file as a rule."""
    number = links.number(start) or 0
    return range(max(number - _BESIDE, 0), min(number + _BESIDE + 1, len(links.starts)))


def _handles_vectors(file: Binary, links: Links, start: int) -> bool:
    function, code = links.function(start), file.code_at(start)
    if function is None or code is None:
        return True
    return takes_vectors(code, *function) or leaves_vector(code, *function)


def _called_alike(file: Binary, start: int) -> Iterator[int]:
    """What else a file exports by a name that differs in a short last word, as of CPUs."""
    if not isinstance(file.exports, Exports):
        return
    for table, place in file.exports[start]:
        strings = file.strings[table]
        stem, _, word = strings[place : place + LONGEST_NAME].partition(b"\0")[0].rpartition(b"_")
        if stem and word:
            alike = re.finditer(rb"\0(?=" + re.escape(stem) + rb"_\w{1,%d}\0)" % _WORD, strings)
            yield from file.exports.called({(table, found.end()) for found in alike})


def _is_copy(file: Binary, start: int) -> bool:
    """Whether all names of a function are weak, as those of inline functions."""
    rows, names = file.relocations.symbols, file.exports[start]
    infos = [
        rows[found.start() + 4]
        for _, place in names
        for found in re.finditer(re.escape(struct.pack("<I", place)), rows)
        if found.start() % _SYMBOL == 0
    ]
    return bool(infos) and all(info >> 4 == _WEAK for info in infos)
