"""The bytes of a file -> what it needs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from cpuprobe.code.cwasm import read_cwasm
from cpuprobe.code.elf_program import ET_DYN, ET_REL, MACHINES, ElfFile, read_elf
from cpuprobe.code.flow import straight_line
from cpuprobe.code.forms import forms
from cpuprobe.code.layout import plan
from cpuprobe.code.needs import ArtifactReadError, Kind, Needs
from cpuprobe.code.scan import scan
from cpuprobe.code.tally import Scan, joined
from cpuprobe.facts.features import load_table
from cpuprobe.files import open_regular

MAXIMUM_BYTES = 2 << 30
Stamp = tuple[int, int, int, int]
_MAGIC = b"\x7fELF"


def is_candidate(path: str) -> bool:
    """Whether a file in a folder is worth reading: a regular file that begins as ELF files do."""
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def read_needs(path: str) -> Needs:
    """Reads a file.

    Args:
        path: a regular file.

    Raises:
        ArtifactReadError: it cannot be read, is no ELF file, or is damaged.
    """
    reading = Reading(path)
    found = reading.scan(0, 1)
    return complete(reading.needs(), [] if found is None else [found])


def parse_needs(content: bytes | memoryview) -> Needs:
    """What the file with these bytes needs.

    Raises:
        ArtifactReadError: no ELF file, or a damaged one.
    """
    file = read_elf(content)
    found = [scan(file, plan(file), forms())] if _is_scanned(file) else []
    return complete(_needs(content, file), found)


class Reading:
    """One file in memory, which can be scanned in parts.

    Attributes:
        stamp: device, inode, size and time of change: readings with the same one read the same.
    """

    def __init__(self, path: str) -> None:
        """Reads a file.

        Args:
            path: a regular file.

        Raises:
            ArtifactReadError: it cannot be read, is no ELF file, or is damaged.
        """
        content, self.stamp = _content(path)
        self._file = read_elf(content)
        self._plan = plan(self._file) if _is_scanned(self._file) else None
        # Of what is scanned all that is needed has been copied.
        self._content = content if self._plan is None else b""

    def needs(self) -> Needs:
        """What the file needs, without what a scan finds.

        Raises:
            ArtifactReadError: compiled wasm that is damaged.
        """
        return _needs(self._content, self._file)

    def scan(self, number: int, of: int) -> Scan | None:
        """One part of the scan; None for what is not scanned: compiled wasm, foreign code."""
        return None if self._plan is None else scan(self._file, self._plan, forms(), number, of)


def complete(needs: Needs, scans: Sequence[Scan]) -> Needs:
    """What a file needs, with what the parts of its scan found; none: it was not scanned."""
    if not scans:
        return needs
    found = joined(scans)
    return msgspec.structs.replace(
        needs,
        features=found.features,
        unknown=found.unknown,
        dispatch=(*found.signs, *needs.dispatch),
        coverage=found.coverage,
    )


def _content(path: str) -> tuple[bytes, Stamp]:
    try:
        with open(open_regular(path), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size == 0:
                raise ArtifactReadError("empty")
            if status.st_size > MAXIMUM_BYTES:
                raise ArtifactReadError(f"larger than {MAXIMUM_BYTES >> 30} GiB")
            content = file.read(status.st_size)
    except OSError as error:
        raise ArtifactReadError(error.strerror) from None
    return content, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _is_scanned(file: ElfFile) -> bool:
    return not file.wasmtime and MACHINES.get(file.machine) == "x86-64"


def _needs(content: bytes | memoryview, file: ElfFile) -> Needs:
    if file.wasmtime:
        return read_cwasm(bytes(content))
    if not _is_scanned(file):
        return Needs(
            kind="other", architecture=MACHINES.get(file.machine, f"ELF machine {file.machine}")
        )
    kind = _kind(file)
    return Needs(
        kind=kind,
        entry=straight_line(file, forms()) if kind == "executable" else {},
        isa_needed=file.isa_needed,
        isa_used=file.isa_used,
        dispatch=_dispatch(file),
        loader=kind == "library" or file.interpreter,
    )


def _kind(file: ElfFile) -> Kind:
    if file.kind == ET_REL:
        return "object"
    # A static position-independent program has neither a loader nor a name, but an entry point.
    if file.kind == ET_DYN and (file.soname or not (file.interpreter or file.entry)):
        return "library"
    return "executable"


def _dispatch(file: ElfFile) -> tuple[str, ...]:
    asked = sorted(file.undefined & set(load_table("baseline")["dispatch"]["imports"]))
    chosen = [f"{file.ifuncs} functions chosen at load time (ifunc)"] if file.ifuncs else []
    return (*asked, *chosen)
