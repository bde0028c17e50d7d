"""Universal (fat) files of macOS: the same program for several processors.

Layout: Apple, <mach-o/fat.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from cpuprobe.code import macho
from cpuprobe.code.archives.allowance import Allowance
from cpuprobe.code.archives.streams import Cursor, Entry, Stream, Window
from cpuprobe.code.elf import ArtifactError

MAGIC, MAGIC_64 = b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf"
_THIRD_OF_TYPE = 8 + 2
_NAMES = {**macho.MACHINES, macho.X86_64: "x86_64", 0x0100000C: "arm64"}
_HASWELL, _OF_HASWELL = 8, "x86_64h"  # CPU_SUBTYPE_X86_64_H
SLICES = frozenset({*_NAMES.values(), _OF_HASWELL})
"""What slices are called, whatever file they are of."""


def begins(head: bytes) -> bool:
    """Whether a file that starts like this is a universal one, and none of Java's class files.

    Those start likewise; where a slice has the third byte of its cputype, which is 0 in all of
    <mach/machine.h>, they have the tag of a constant, which never is (JVMS, 4.1 and 4.4).
    """
    return head.startswith((MAGIC, MAGIC_64)) and head[_THIRD_OF_TYPE : _THIRD_OF_TYPE + 1] == b"\0"


def entries(stream: Stream, allowance: Allowance) -> Iterator[Entry]:
    """The slices, named as `lipo` names them.

    Raises:
        ArtifactError: it is damaged, or they claim the same bytes.
    """
    source = stream.whole(allowance)
    if source is None:
        yield Entry("", None, "universal macOS program too large for memory in an archive")
        return
    try:
        magic, count = struct.unpack(">4sI", source.some(0, 8))
        form = ">IIIIxxxx" if magic == MAGIC else ">IIQQxxxxxxxx"
        table = source.some(8, struct.calcsize(form) * count)
        if len(table) < struct.calcsize(form) * count:
            raise ArtifactError("a universal file cut short")
        left = source.size
        for machine, kind, offset, size in struct.iter_unpack(form, table):
            left -= size
            if left < 0:
                raise ArtifactError("a universal file whose slices claim the same bytes")
            name = _NAMES.get(machine, f"machine {machine:#x}")
            if machine == macho.X86_64 and kind & 0xFFFFFF == _HASWELL:
                name = _OF_HASWELL
            yield Entry(name, Cursor(Window(source, offset, size)))
    finally:
        if stream.holds:
            allowance.hold(-source.size)
