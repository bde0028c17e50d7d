"""How the parts of a Mach-O file refer to each other: addresses in data, and names of imports.

Layout: Apple, <mach-o/loader.h> ("rebase opcodes") and <mach-o/fixup-chains.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence

from cpuprobe.code.elf import ArtifactError
from cpuprobe.code.macho_commands import Segment

MOST_WORDS = 1 << 22
"""Addresses in data; Chromium has a million."""
_PTR_64, _PTR_64_OFFSET = 2, 6  # DYLD_CHAINED_PTR_*, those of x86-64
_NO_START = 0xFFFF
_DONE, _SEGMENT, _ADD, _ADD_SCALED = 0x00, 0x20, 0x30, 0x40
_TIMES_IMM, _TIMES, _ONCE_ADD, _TIMES_SKIPPING = 0x50, 0x60, 0x70, 0x80


def rebased(opcodes: bytes, segments: Sequence[Segment], most: int = MOST_WORDS) -> Iterator[int]:
    """The slots that the loader moves with the file (LC_DYLD_INFO), by address.

    Args:
        opcodes: what tells of them.
        segments: of the file.
        most: how many words it has.

    Raises:
        ArtifactError: more than any file has, or than this one.
    """
    at = place = 0
    left = min(most, MOST_WORDS)

    def number() -> int:
        nonlocal at
        value = shift = 0
        while at < len(opcodes):
            byte = opcodes[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 63:
                break
        return value & (1 << 64) - 1

    while at < len(opcodes):
        kind, small = opcodes[at] & 0xF0, opcodes[at] & 0x0F
        at += 1
        times, step = 0, 8
        if kind == _DONE:
            return
        if kind == _SEGMENT:
            place = number() + (segments[small][0] if small < len(segments) else 0)
        elif kind == _ADD:
            place += number()
        elif kind == _ADD_SCALED:
            place += 8 * small
        elif kind == _TIMES_IMM:
            times = small
        elif kind == _TIMES:
            times = number()
        elif kind == _ONCE_ADD:
            times, step = 1, 8 + number()
        elif kind == _TIMES_SKIPPING:
            times = number()
            step = 8 + number()
        left -= times
        if left < 0:
            raise ArtifactError("Mach-O: more addresses in data than it has room for")
        for _ in range(times):
            yield place
            place = place + step & (1 << 64) - 1


def chained(
    fixups: bytes, segments: Sequence[Segment], read: Callable[[Segment], bytes], base: int
) -> Iterator[tuple[int, int]]:
    """The slots with addresses of this file, and these (LC_DYLD_CHAINED_FIXUPS).

    Args:
        fixups: what the load command points to.
        segments: of the file.
        read: reads one of them.
        base: where the file's header is in memory.

    Raises:
        ArtifactError: more than any file has.
    """
    left = MOST_WORDS
    for start, segment in zip(_starts(fixups), segments, strict=False):
        if start is None or start + 22 > len(fixups):
            continue
        page_size, form, _, _, pages = struct.unpack_from("<HHQIH", fixups, start + 4)
        pages = min(pages, (len(fixups) - start - 22) // 2)
        if form not in (_PTR_64, _PTR_64_OFFSET):
            continue
        left -= pages  # segments may share them
        if left < 0:
            raise ArtifactError("Mach-O: more pages with addresses than any file has")
        firsts = struct.unpack_from(f"<{pages}H", fixups, start + 22)
        content = read(segment)
        for page, first in enumerate(firsts):
            at = page * page_size + first if first != _NO_START else len(content)
            while at + 8 <= len(content) and left:
                left -= 1
                (word,) = struct.unpack_from("<Q", content, at)
                if not word >> 63:  # else it is an import
                    target = word & (1 << 36) - 1
                    yield segment[0] + at, target + (base if form == _PTR_64_OFFSET else 0)
                step = 4 * (word >> 51 & 0xFFF)
                at = at + step if step else len(content)


def _starts(fixups: bytes) -> Iterator[int | None]:
    """Where in it the description of each segment begins; None where it has no pointers."""
    if len(fixups) < 28:
        return
    (begin,) = struct.unpack_from("<I", fixups, 4)
    if begin + 4 > len(fixups):
        return
    (count,) = struct.unpack_from("<I", fixups, begin)
    count = min(count, (len(fixups) - begin - 4) // 4)
    for offset in struct.unpack_from(f"<{count}I", fixups, begin + 4):
        yield begin + offset if offset else None
