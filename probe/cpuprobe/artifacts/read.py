"""The bytes of a file -> what it needs."""

from __future__ import annotations

import os
import stat

from cpuprobe.artifacts.cwasm import read_cwasm
from cpuprobe.artifacts.elf_file import ET_DYN, ET_REL, MACHINES, ElfFile, read_elf
from cpuprobe.artifacts.forms import forms
from cpuprobe.artifacts.model import ArtifactReadError, Kind, Needs
from cpuprobe.artifacts.scan import scan, straight_line
from cpuprobe.features import load_table

MAXIMUM_BYTES = 2 << 30
_MAGIC = b"\x7fELF"


def is_candidate(path: str) -> bool:
    """Whether a file in a folder is worth reading: a regular file that begins as ELF files do."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.read(descriptor, 4) == _MAGIC
    except OSError:
        return False
    finally:
        os.close(descriptor)


def read_needs(path: str) -> Needs:
    """Reads a file.

    Args:
        path: a regular file.

    Raises:
        ArtifactReadError: it cannot be read, is no ELF file, or is damaged.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactReadError(error.strerror) from None
    except ValueError:
        raise ArtifactReadError("not a file name") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactReadError("not a regular file")
        if status.st_size == 0:
            raise ArtifactReadError("empty")
        if status.st_size > MAXIMUM_BYTES:
            raise ArtifactReadError(f"larger than {MAXIMUM_BYTES >> 30} GiB")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size)
    except OSError as error:
        raise ArtifactReadError(error.strerror) from None
    finally:
        os.close(descriptor)
    return parse_needs(content)


def parse_needs(content: bytes | memoryview) -> Needs:
    """What the file with these bytes needs.

    Raises:
        ArtifactReadError: no ELF file, or a damaged one.
    """
    file = read_elf(content)
    if file.wasmtime:
        return read_cwasm(bytes(content))
    if file.machine not in MACHINES:
        return Needs(kind="other", architecture=f"ELF machine {file.machine}")
    if MACHINES[file.machine] != "x86-64":
        return Needs(kind="other", architecture=MACHINES[file.machine])
    sort = forms()
    found = scan(file, sort)
    kind = _kind(file)
    return Needs(
        kind=kind,
        features=found.features,
        unknown=found.unknown,
        entry=straight_line(file, sort) if kind == "executable" else {},
        isa_needed=file.isa_needed,
        isa_used=file.isa_used,
        dispatch=_dispatch(file, found.signs),
        coverage=found.coverage,
        loader=kind == "library" or file.interpreter,
    )


def _kind(file: ElfFile) -> Kind:
    if file.kind == ET_REL:
        return "object"
    # A static position-independent program has neither a loader nor a name, but an entry point.
    if file.kind == ET_DYN and (file.soname or not (file.interpreter or file.entry)):
        return "library"
    return "executable"


def _dispatch(file: ElfFile, signs: tuple[str, ...]) -> tuple[str, ...]:
    asked = sorted(file.undefined & set(load_table("baseline")["dispatch"]["imports"]))
    chosen = [f"{file.ifuncs} functions chosen at load time (ifunc)"] if file.ifuncs else []
    return (*signs, *asked, *chosen)
