"""A crash as its record tells it: what the readers return and `crash.diagnose` takes.

A clue is what one format tells of a crash, and so is a crash of which only some is known: both have
the same places, and joining fills the empty ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from cpuprobe.code.image import Origin

# Instruction sets by the names that DESIGN and LLVM use.
Isa = Literal[
    "x86-64",
    "i386",
    "aarch64",
    "arm",
    "riscv64",
    "ppc64",
    "ppc",
    "s390x",
    "mips",
    "loongarch64",
]
System = Literal["linux", "windows", "macos", "android", "freebsd", "firmware"]
# What runs a program's instructions instead of the CPU, or refuses to.
Emulator = Literal["qemu", "kvm", "valgrind", "box64", "rosetta", "sde", "bhyve", "unicorn"]
# A kernel's own report: it warned and went on, or it (or one of its tasks) died.
KernelReport = Literal["warning", "crash"]
RefusalKind = Literal["flag", "level", "features"]
NoteKind = Literal[
    "exit code of its own",  # value: the code
    "fetch fault",
    "core cut short",
    "pointer mapped nowhere",
    "another file at hand",  # value: its name
    "no code in the core",  # value: the file that has it
    "no code in the dump",  # value: the file that has it
    "bytes of a file at hand",  # value: its name
    "file wanted",  # value: its name
    "in the kernel's",  # value: a function of the kernel
]


class Note(NamedTuple):
    """What else a reader of the answer should know; the words are the report's."""

    kind: NoteKind
    value: str = ""


class Listed(NamedTuple):
    """A line of a disassembler: address, bytes and text (either may be missing), and its mark."""

    address: int
    code: bytes = b""
    text: str = ""
    marked: bool = False


class Refusal(NamedTuple):
    """A program's or the system's own word that it will not run here.

    `names` are features, a Cranelift flag or a psABI level; `exact` says that all of them are
    missing, and not only that they are wanted.
    """

    kind: RefusalKind
    names: tuple[str, ...]
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Crash:
    """One crash, or what one record tells of it.

    Attributes:
        source: the kind of record, in words.
        code: bytes of code; the faulting instruction first, empty where they are not known.
        sequence: all of `code` is meant, not its first instruction alone.
        text: the instruction as an assembler line, where its bytes are not known; of a sequence
            each on a line of its own.
        signal: SIGILL and the like, or the name of a Windows status.
        isa: the instruction set of the code; None where nothing tells it.
        address: the instruction pointer.
        fault: the data address that the record gives.
        pid: the process or thread as the record numbers it.
        program: the name of the program, without folders.
        function: the symbol at the instruction pointer.
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
        runtimes: ids (profiles/knobs.toml) of runtimes that the record shows at work.
        system: the operating system.
        emulator: what ran the program instead of the CPU.
        kernel: the kernel's own report, not a program's death.
        refusal: the program refused to run.
        notes: what else a reader of the answer should know.
    """

    source: str
    code: bytes = b""
    sequence: bool = False
    text: str = ""
    signal: str | None = None
    isa: Isa | None = None
    address: int | None = None
    fault: int | None = None
    pid: int | None = None
    program: str | None = None
    function: str | None = None
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
    runtimes: frozenset[str] = frozenset()
    system: System | None = None
    emulator: Emulator | None = None
    kernel: KernelReport | None = None
    refusal: Refusal | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Clue:
    """What one line, or one block of lines, tells.

    Attributes:
        line: its number in the text.
        tells: what it says; its `source` names the format.
        begins: another crash than the one before begins here.
        aside: it only adds to a crash that other lines tell of, and by itself is none.
        memory: bytes by address.
        listed: lines of disassembly.
    """

    line: int
    tells: Crash
    begins: bool = False
    aside: bool = False
    memory: tuple[tuple[int, bytes], ...] = ()
    listed: tuple[Listed, ...] = ()


# What belongs together is taken from one record or from none.
_TOGETHER = (
    ("code", "sequence"),
    ("module", "path", "offset", "origin", "mapping_size", "anonymous"),
)
_ALONE = tuple(
    each.name for each in fields(Crash) if each.name not in {"source", *_TOGETHER[0], *_TOGETHER[1]}
)


def merged(first: Crash, second: Crash) -> Crash:
    """The first crash with what only the second tells; sets and lists are put together."""
    changes: dict[str, object] = {}
    for name in _ALONE:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, frozenset):
            changes[name] = one | other
        elif isinstance(one, tuple) and not isinstance(one, Refusal):
            changes[name] = tuple(dict.fromkeys((*one, *other)))
        elif isinstance(one, Mapping):
            changes[name] = {**other, **one}
        elif one in (None, "", False):
            changes[name] = other
    for group in _TOGETHER:
        if _empty(first, group[0]) and not _empty(second, group[0]):
            changes.update({name: getattr(second, name) for name in group})
    if _empty(first, "module") and _empty(second, "module"):
        changes["anonymous"] = second.anonymous if first.anonymous is None else first.anonymous
    elif first.offset is None is not second.offset and second.module in (None, first.module):
        changes |= {"offset": second.offset, "origin": second.origin}  # on a line of its own
    news = {name: value for name, value in changes.items() if value != getattr(first, name)}
    return replace(first, **news) if news else first  # type: ignore[arg-type]


def _empty(crash: Crash, name: str) -> bool:
    return getattr(crash, name) in (None, b"")
