"""A crash as its record tells it: what the readers return and `diagnose` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cpuprobe.code.image import Origin


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash.

    Attributes:
        source: the kind of record, in words.
        code: bytes of code; the faulting instruction first, empty where they are not known.
        sequence: all of `code` is meant, not its first instruction alone.
        text: the instruction as an assembler line, where its bytes are not known.
        signal: SIGILL and the like, or the name of a Windows status.
        address: the instruction pointer.
        module: the name, without folders, of the file that holds the instruction.
        path: where that file was on the crashed machine. Never shown: folders are private.
        offset: of the instruction in the module; `origin` says from where.
        origin: see `Origin`.
        mapping_size: the size of the mapping that holds the address, where the record tells it.
        anonymous: the instruction lies in memory of no file; None where that is not known.
        executable: whether that memory is executable; None where that is not known.
        sent: a process sent the signal, no instruction raised it.
        registers: general registers by their lower-case names, for addresses of operands.
        modules: names of other files in the process, for telling which runtime made JIT code.
        notes: what else a reader of the answer should know.
    """

    source: str
    code: bytes = b""
    sequence: bool = False
    text: str = ""
    signal: str | None = None
    address: int | None = None
    module: str | None = None
    path: str | None = None
    offset: int | None = None
    origin: Origin = "file"
    mapping_size: int | None = None
    anonymous: bool | None = None
    executable: bool | None = None
    sent: bool = False
    registers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    modules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
