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
MOST_SLICES = 32
"""Java's class files begin like universal ones; theirs go on with 45 or more."""
_NAMES = {**macho.MACHINES, macho.X86_64: "x86_64", 0x0100000C: "arm64"}
_HASWELL, _OF_HASWELL = 8, "x86_64h"  # CPU_SUBTYPE_X86_64_H
SLICES = frozenset({*_NAMES.values(), _OF_HASWELL})
"""What slices are called, whatever file they are of."""


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
