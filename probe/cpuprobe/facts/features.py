"""The feature table and the psABI levels of x86-64, as typed rows, and what all tables share.

The facts stand in `profiles/features.toml` and `levels.toml`, none about a single feature here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import msgspec

from cpuprobe.facts.tables import read_table

Encoding = Literal["legacy", "vex-gpr", "vex", "evex", "amx", "apx"]
OsGate = Literal["osxsave", "ospke", "fsgsbase"]
Register = Literal["eax", "ebx", "ecx", "edx"]


# SDM vol. 1, section 13.1 numbers the state components: 1 SSE, 2 AVX, 5 opmask, 6 ZMM_Hi256,
# 7 Hi16_ZMM, 17 TILECFG, 18 TILEDATA, 19 APX. Which of them an encoding needs: sections 14.3 (AVX)
# and 15.2 (AVX-512), the chapter on AMX, and for APX Intel's document 355828.
_XCR0_MASK: dict[str, int] = {
    "legacy": 0,
    "vex-gpr": 0,
    "vex": 1 << 1 | 1 << 2,
    "evex": 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7,
    "amx": 1 << 17 | 1 << 18,
    "apx": 1 << 19,
}


class CpuidBit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where CPUID enumerates a feature: leaf (EAX), subleaf (ECX), register, bit number.

    Where a number tells it, `bit` is its lowest of `width` bits, and `least` the first value that
    does.
    """

    leaf: int
    subleaf: int
    register: Register
    bit: int
    width: int = 1
    least: int = 1

    def __str__(self) -> str:
        """The bit in the SDM's notation, say `CPUID.(EAX=07H,ECX=0):EBX[bit 5]`."""
        place = f"CPUID.(EAX={self.leaf:02X}H,ECX={self.subleaf}):{self.register.upper()}"
        if self.width == 1:
            return f"{place}[bit {self.bit}]"
        return f"{place}[{self.bit + self.width - 1}:{self.bit}] >= {self.least}"

    def holds(self, value: int) -> bool:
        """Whether a value of the register says that the feature is there."""
        return value >> self.bit & (1 << self.width) - 1 >= self.least


class KernelFlag(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name in /proc/cpuinfo and the first Linux release that lists it; both None if none does.

    `also` is another name whose presence says the same.
    """

    flag: str | None = None
    since: str | None = None
    also: str | None = None


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """The columns that features of every instruction set have; see `profiles/features.toml`."""

    name: str
    title: str
    implies: tuple[str, ...]
    kernel: KernelFlag
    cranelift: str | None = None
    rust: str | None = None
    gcc: str | None = None
    llvm: str | None = None
    group: str | None = None
    hint: bool = False
    privileged: bool = False
    bundle: bool = False
    source: str

    @property
    def harmless(self) -> bool:
        """Whether no program dies of being built for it: a hint, or for the kernel alone."""
        return self.hint or self.privileged

    @property
    def for_programs(self) -> bool:
        """Whether a program can need it, and executing can confirm it.

        Not so are hints, what only the kernel can use, and names for a bundle of other features.
        """
        return not (self.harmless or self.bundle)

    @property
    def kind(self) -> str:
        """Its encoding, as its own table calls it."""
        raise NotImplementedError

    @property
    def state(self) -> int:
        """Which register state the operating system must have enabled, as bits; 0 if none."""
        return 0

    @property
    def asks_leave(self) -> bool:
        """Whether the operating system has to enable anything at all for it."""
        return self.state != 0

    @property
    def needs_permission(self) -> bool:
        """Whether each process has to ask for it first."""
        return False


class X86Feature(Feature, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One row of `profiles/features.toml`; the head of that file explains the fields."""

    cpuid: CpuidBit
    encoding: Encoding
    os: OsGate | None = None
    iced: tuple[str, ...]

    @functools.cached_property
    def xcr0(self) -> int:
        """The XCR0 bits that must be set before this feature may be used; see `xcr0_mask`."""
        return xcr0_mask(self.encoding)

    @property
    def kind(self) -> str:
        """The encoding."""
        return self.encoding

    @property
    def state(self) -> int:
        """The same, under the name that all instruction sets share."""
        return self.xcr0

    @property
    def asks_leave(self) -> bool:
        """Whether XCR0 or a bit of CR4 has to be set for it."""
        return self.xcr0 != 0 or self.os is not None

    @property
    def needs_permission(self) -> bool:
        """Whether each process has to ask for it first: Linux hands out AMX by arch_prctl."""
        return self.encoding == "amx"


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A level: a version of an architecture, with all that it extends; see `profiles/levels.toml`.

    `archspec` is empty where archspec has no name for it.
    """

    name: str
    features: tuple[str, ...]
    purpose: str
    gcc: str
    archspec: str


Row_co = TypeVar("Row_co", bound=Feature, covariant=True)

if TYPE_CHECKING:  # a dict that is only read: a table of X86Feature is one of Feature

    class _Rows(Mapping[str, Row_co]):
        def __init__(self, rows: Iterable[tuple[str, Row_co]]) -> None: ...
        def __getitem__(self, name: str) -> Row_co: ...
        def __iter__(self) -> Iterator[str]: ...
        def __len__(self) -> int: ...
else:

    class _Rows(dict):
        pass


class TableOf(_Rows[Row_co]):
    """The features by canonical name, in the order of the table; read once, never changed."""

    @functools.cached_property
    def _closures(self) -> dict[str, frozenset[str]]:
        closures: dict[str, frozenset[str]] = {}

        def resolve(name: str) -> frozenset[str]:
            if name not in closures:
                direct = self[name].implies
                closures[name] = frozenset(direct).union(*(resolve(each) for each in direct))
            return closures[name]

        for name in self:
            resolve(name)
        return closures

    def closure(self, name: str) -> frozenset[str]:
        """All that `name` implies, transitively, without `name` itself; KeyError if unknown."""
        return self._closures[name]

    def dependents(self, name: str) -> frozenset[str]:
        """Every feature whose closure holds `name`; KeyError if `name` is unknown."""
        self[name]
        return frozenset(each for each, implied in self._closures.items() if name in implied)

    @functools.cached_property
    def by_cranelift(self) -> Mapping[str, Row_co]:
        """The feature behind each Cranelift setting (`has_avx2`)."""
        return MappingProxyType({f.cranelift: f for f in self.values() if f.cranelift is not None})

    @functools.cached_property
    def by_kernel_flag(self) -> Mapping[str, Row_co]:
        """The feature behind each name of the `flags` line in /proc/cpuinfo."""
        return MappingProxyType(
            {f.kernel.flag: f for f in self.values() if f.kernel.flag is not None}
        )

    @functools.cached_property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the features in each user-facing group, in the order of the table."""
        groups: dict[str, tuple[str, ...]] = {}
        for feature in self.values():
            if feature.group is not None:
                groups[feature.group] = (*groups.get(feature.group, ()), feature.name)
        return MappingProxyType(groups)

    def group(self, name: str) -> tuple[str, ...]:
        """The features of group `name` (`avx512`), in the table's order; KeyError if unknown."""
        return self.groups[name]


class X86Table(TableOf[X86Feature]):
    """The table of x86-64."""

    @functools.cached_property
    def by_iced(self) -> Mapping[str, X86Feature]:
        """The feature behind each name in iced-x86's CpuidFeature."""
        return MappingProxyType({name: f for f in self.values() for name in f.iced})


FeatureTable: TypeAlias = TableOf[Feature]


def xcr0_mask(encoding: Encoding) -> int:
    """The XCR0 bits that an encoding needs, all of them set (SDM vol. 1, chapters 13 to 18)."""
    return _XCR0_MASK[encoding]


@functools.cache
def load_features() -> X86Table:
    """The feature table of x86-64, read once and kept. Raises TableError if it cannot be read."""
    rows = read_table("features", dict[str, tuple[X86Feature, ...]])["feature"]
    return X86Table((feature.name, feature) for feature in rows)


@functools.cache
def load_levels() -> tuple[Level, ...]:
    """The psABI levels, lowest first, each with what it extends included; read once and kept.

    Raises TableError if they cannot be read.
    """
    return read_table("levels", dict[str, tuple[Level, ...]])["level"]
