"""The tables of jumps that Microsoft's compiler puts behind a function's code, as part of it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from cpuprobe.code.functions import Range
from cpuprobe.code.program import CodeBytes

# MOV r32 and MOVZX r32 from memory at base, index and 32 bits: an entry's place counts from the
# start of the image, whose address is in the base register.
_READS = re.compile(rb"(?:\x8b|\x0f[\xb6\xb7])[\x84\x8c\x94\x9c\xa4\xac\xb4\xbc].(....)", re.DOTALL)


def jump_tables(
    code: CodeBytes, image: int, functions: Mapping[int, Range]
) -> Iterator[tuple[int, int]]:
    """Where tables begin that a function indexes and that lie in itself, and where it ends.

    Args:
        code: executable bytes.
        image: the address of the image's start.
        functions: those in there, by their start.
    """
    starts = sorted(functions)
    for match in _READS.finditer(code.data):
        table = image + int.from_bytes(match[1], "little")
        at = bisect_right(starts, table) - 1
        if at >= 0:
            where = functions[starts[at]]
            if where.start <= code.address + match.start() < table < where.end:
                yield table, where.end
