"""The feature table of aarch64, as typed rows of `profiles/features-aarch64.toml`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import msgspec

from cpuprobe.facts.features import Feature, Level, TableOf
from cpuprobe.facts.tables import read_table

Encoding = Literal["a64", "sve", "sme", "pauth", "hint"]
Word = Literal["hwcap", "hwcap2", "hwcap3"]


class IdField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of an ID register, and the least value that tells a feature.

    A signed field counts 0b1111 as -1: ID_AA64PFR0_EL1.FP says so that there is no floating point.
    """

    register: str
    lsb: int
    width: int
    at_least: int
    signed: bool = False

    def __str__(self) -> str:
        """The field in the notation of the Arm ARM, say `ID_AA64ISAR0_EL1[23:20] >= 2`."""
        name, high = self.register.upper(), self.lsb + self.width - 1
        place = f"{self.lsb}" if self.width == 1 else f"{high}:{self.lsb}"
        return f"{name}[{place}] >= {self.at_least}"

    def value(self, register: int) -> int:
        """What the field holds in a value of its register."""
        value = register >> self.lsb & (1 << self.width) - 1
        return value - (1 << self.width) if self.signed and value >> self.width - 1 else value

    def holds(self, register: int) -> bool:
        """Whether a value of the register says that the feature is there."""
        return self.value(register) >= self.at_least


class HwcapBit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bit of the auxiliary vector: AT_HWCAP, AT_HWCAP2 or AT_HWCAP3."""

    word: Word
    bit: int

    def __str__(self) -> str:
        """The bit in words, say `AT_HWCAP2 bit 1`."""
        return f"AT_{self.word.upper()} bit {self.bit}"

    def holds(self, word: int) -> bool:
        """Whether a value of the word has the bit."""
        return bool(word >> self.bit & 1)


class ArmFeature(Feature, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One row of `profiles/features-aarch64.toml`; the head of that file explains the fields.

    `id` are alternatives: any of them tells the feature.
    """

    id: tuple[IdField, ...]
    hwcap: HwcapBit | None = None
    encoding: Encoding

    @property
    def kind(self) -> str:
        """The encoding."""
        return self.encoding

    def told_by(self, registers: Mapping[str, int]) -> bool | None:
        """What ID registers say of the feature; None where none of its own was read."""
        read = [each for each in self.id if each.register in registers]
        if not read:
            return None
        return any(each.holds(registers[each.register]) for each in read)


class ArmTable(TableOf[ArmFeature]):
    """The table of aarch64."""


@functools.cache
def load_features() -> ArmTable:
    """The feature table of aarch64, read once and kept. Raises TableError if it cannot be read."""
    rows = read_table("features-aarch64", dict[str, tuple[ArmFeature, ...]])["feature"]
    return ArmTable((feature.name, feature) for feature in rows)


@functools.cache
def load_levels() -> tuple[Level, ...]:
    """The versions of the architecture as levels, lowest first, armv9 after armv8.

    Raises TableError if they cannot be read.
    """
    return read_table("levels-aarch64", dict[str, tuple[Level, ...]])["level"]
