"""What a program, library or object file says of its code, whatever its container."""

from __future__ import annotations

import functools
import operator
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from cpuprobe.code.elf import text
from cpuprobe.code.functions import Exports, FunctionTable, Name, Range
from cpuprobe.code.needs import Kind
from cpuprobe.facts.tables import load_table
from cpuprobe.words import counted

MACHINES = {
    3: "i386",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC64",
    22: "s390x",
    40: "ARM",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}
"""e_machine (System V ABI, registry of machines); the common ones."""


@dataclass(frozen=True, slots=True)
class CodeBytes:
    """Executable bytes, from a section, or from a segment where there are no sections."""

    index: int
    name: str
    address: int
    data: bytes

    @property
    def end(self) -> int:
        """The address behind them."""
        return self.address + len(self.data)

    @property
    def span(self) -> tuple[int, int]:
        """Where they start, and the address behind them."""
        return self.address, self.end

    def between(self, start: int, end: int) -> bytes:
        """The bytes from one address to another."""
        return self.data[start - self.address : end - self.address]


@functools.cache
def asking_names(architecture: str = "x86-64") -> re.Pattern[str]:
    """The names of functions and variables by which one asks what a CPU can do."""
    rows = load_table("baseline")["dispatch"]
    more = rows["asking_aarch64"] if architecture == "AArch64" else []
    return re.compile("|".join(rows["asking"] + more))


@functools.lru_cache(1 << 16)
def asks(name: str, architecture: str = "x86-64") -> bool:
    """Whether one asks by a function or variable what a CPU can do."""
    return asking_names(architecture).search(name) is not None


@functools.cache
def passive_names() -> re.Pattern[str]:
    """The names of other files' functions that call nothing of what is handed to them."""
    return re.compile("|".join(load_table("baseline")["dispatch"]["passive"]))


@functools.cache
def ending_names(is_program: bool) -> re.Pattern[str]:
    """The names of other files' functions from which a program, or a library, does not go on."""
    rows = load_table("baseline")["dispatch"]
    return re.compile("|".join(rows["ending"] + rows["throwing"] * is_program))


@functools.cache
def loaded_names() -> re.Pattern[bytes]:
    """The names, as a string table holds them, of what every load of a library of a kind calls."""
    return re.compile("|".join(load_table("baseline")["dispatch"]["loaded"]).encode())


@functools.cache
def _variants(architecture: str) -> re.Pattern[str]:
    key = "variants_aarch64" if architecture == "AArch64" else "variants"
    return re.compile("|".join(load_table("baseline")["dispatch"][key]))


def is_named_for_cpus(name: str, architecture: str = "x86-64") -> bool:
    """Whether a function's name says which CPUs of its kind it is for: callers chose."""
    return _variants(architecture).search(name.lower()) is not None


@dataclass
class Relocations:
    """What the dynamic loader writes into a file's memory, as it stands in the file.

    Attributes:
        tables: of Elf64_Rela.
        symbols: .dynsym.
        strings: its names.
        words: of files that do not move: the address and content of static data.
        of_code: where the slots stand that code alone uses: the global offset table.
    """

    tables: list[bytes] = field(default_factory=list)
    symbols: bytes = b""
    strings: bytes = b""
    words: list[tuple[int, bytes]] = field(default_factory=list)
    of_code: list[tuple[int, int]] = field(default_factory=list)


_ADDRESS = operator.attrgetter("address")


@dataclass
class Binary:
    """What the scan needs of a file: ELF, PE or Mach-O.

    Attributes:
        architecture: of its code, by ELF's names; of another than was asked for nothing more is
            read.
        kind: what sort of file it is.
        wasmtime: it is wasmtime's artifact.
        entry: where every run begins; 0: nowhere.
        loader: a dynamic loader looks at its property note.
        initial: where the code is that every load runs (DT_INIT, DT_INIT_ARRAY; TLS callbacks).
        constructors: what is told by its form alone to be run when it begins.
        code: executable bytes, in address order.
        functions: by their number of `code`.
        objects: ranges of data inside executable bytes, by index of `code`.
        isa_needed: psABI levels.
        isa_used: likewise.
        ifuncs: how many functions are chosen at load time.
        undefined: names of undefined symbols.
        strings: string tables.
        appended: bytes behind all that its tables tell of, as installers have them.
        go: the psABI level that Go's linker says it was built for; empty: it says none.
        go_code: the address where Go's functions begin, and the one behind them.
        exports: functions that others may call: all names of each, by its address.
        linked: what it exports, and how its parts refer to each other, is known.
        relocations: what the dynamic loader writes into its memory.
        zeros: where memory is that is zero at first.
        written: where memory is that a run may write to, in order; none: that is not known.
        sealed: those parts of it that only the loader writes to.
        answers: where the variables begin into which a compiler's runtime puts what CPUID said.
        models: those of them that are libgcc's __cpu_model.
        is_windows: its functions call each other as on Windows.
        constants: address and content of memory that is only read, as far as that is little.
        variables: likewise of memory that may be written to, at first.
        questions: where its data names the file in which Linux lists the CPU's features.
    """

    architecture: str
    kind: Kind
    wasmtime: bool = False
    entry: int = 0
    loader: bool = False
    initial: tuple[int, ...] = ()
    constructors: tuple[int, ...] = ()
    code: list[CodeBytes] = field(default_factory=list)
    functions: FunctionTable = field(default_factory=FunctionTable)
    objects: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    isa_needed: tuple[str, ...] = ()
    isa_used: tuple[str, ...] = ()
    ifuncs: int = 0
    undefined: frozenset[str] = frozenset()
    strings: list[bytes] = field(default_factory=list)
    appended: int = 0
    go: str = ""
    go_code: tuple[int, int] = (0, 0)
    exports: Mapping[int, list[Name]] = field(default_factory=dict)
    linked: bool = False
    relocations: Relocations = field(default_factory=Relocations)
    is_windows: bool = False
    zeros: list[tuple[int, int]] = field(default_factory=list)
    written: list[tuple[int, int]] = field(default_factory=list)
    sealed: list[tuple[int, int]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    models: set[int] = field(default_factory=set)
    questions: frozenset[int] = frozenset()
    constants: list[tuple[int, bytes]] = field(default_factory=list)
    variables: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def code_size(self) -> int:
        """Bytes of all its code."""
        return sum(len(code.data) for code in self.code)

    def code_number(self, address: int) -> int:
        """The number of the last executable bytes that begin at an address or before; -1: none."""
        return bisect_right(self.code, address, key=_ADDRESS) - 1

    def code_at(self, address: int) -> CodeBytes | None:
        """The executable bytes that hold an address; None where there are none."""
        code = self.code[max(self.code_number(address), 0)] if self.code else None
        holds = code is not None and 0 <= address - code.address < len(code.data)
        return code if holds else None

    def is_variable(self, address: int) -> bool:
        """Whether code may write to an address while it runs."""
        written, sealed = (
            any(low <= address < high for low, high in spans)
            for spans in (self.written, self.sealed)
        )
        return written and not sealed

    def is_code(self, address: int) -> bool:
        """Whether there is code at an address."""
        return self.code_at(address) is not None

    def function(self, start: int) -> Range | None:
        """The function that begins at an address."""
        return self.functions.find(self.code_number(start), start)

    def is_for_cpus(self, start: int) -> bool:
        """Whether the symbol of the function that begins there says which CPUs it is for."""
        function = self.function(start)
        return function is not None and is_named_for_cpus(self.name(function.name))

    @functools.cached_property
    def asks_others(self) -> tuple[str, ...]:
        """The functions and variables of other files by which it asks what the CPU can do."""
        return tuple(sorted(name for name in self.undefined if asks(name, self.architecture)))

    @property
    def signs(self) -> tuple[str, ...]:
        """What beside instructions may choose code in it at run time."""
        several = f"{counted(self.ifuncs, 'function')} chosen at load time (ifunc)"
        chosen = [several] if self.ifuncs else []
        cpuinfo = ["/proc/cpuinfo"] if self.questions else []
        return (*self.asks_others, *cpuinfo, *chosen)

    @functools.cached_property
    def loaded(self) -> tuple[int, ...]:
        """The exported functions that whoever loads a library of its kind calls."""
        exports = self.exports
        tables = [exports.table] if isinstance(exports, Exports) else range(len(self.strings))
        named = {
            (number, match.start() + 1)
            for number in tables
            for match in re.finditer(b"\0(?:%s)" % loaded_names().pattern, self.strings[number])
        }
        if isinstance(exports, Exports):
            return exports.called(named)
        return tuple(start for start, names in exports.items() if not named.isdisjoint(names))

    def name(self, name: Name) -> str:
        """The text of a name, empty for NAMELESS; fit to print."""
        table, offset = name
        return text(self.strings[table], offset) if table >= 0 else ""
