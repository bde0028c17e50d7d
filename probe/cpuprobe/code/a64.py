"""A64 instructions: which features beyond Armv8.0-A a word, or a disassembler's line, needs.

The rows stand in profiles/instructions-aarch64.toml. What no row holds, every Armv8.0-A CPU has, or
it is no instruction: this is no decoder.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from cpuprobe.code.decode import Decoded, Kind
from cpuprobe.facts.aarch64 import load_features
from cpuprobe.facts.tables import load_table, read_table

INDEX = 21
"""Rows are looked up by what is above this bit."""


class Row(NamedTuple):
    """Words `w` with `w & mask == value` are this instruction.

    Attributes:
        mask, value: see above.
        mnemonic: as LLVM writes it; of system registers and operations with the name of those.
        features: canonical names, without what they build on.
        hint: it does nothing where they are missing.
        shared: Armv8.0-A has another form of the mnemonic.
    """

    mask: int
    value: int
    mnemonic: str
    features: tuple[str, ...]
    hint: bool = False
    shared: bool = False


class _Group(msgspec.Struct, frozen=True):
    """Rows that need the same: `mask value mnemonic`, the numbers in hexadecimal."""

    features: tuple[str, ...]
    words: tuple[str, ...]
    hint: bool = False


@functools.cache
def rows() -> tuple[Row, ...]:
    """All rows, the narrowest first: the first that holds a word tells what it is."""
    table = read_table("instructions-aarch64", dict[str, tuple[_Group, ...]])["instructions"]
    found = [
        Row(int(mask, 16), int(value, 16), mnemonic.rstrip("*"), each.features, each.hint,
            mnemonic.endswith("*"))
        for each in table
        for mask, value, mnemonic in (line.split(None, 2) for line in each.words)
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda row: -row.mask.bit_count()))


@functools.cache
def _index() -> Mapping[int, tuple[Row, ...]]:
    """The rows by the bits of a word above INDEX."""
    index: dict[int, list[Row]] = {}
    for row in rows():
        free = ~row.mask & 0xFFFFFFFF
        for key in submasks(free >> INDEX):
            index.setdefault(row.value >> INDEX | key, []).append(row)
    return {key: tuple(each) for key, each in index.items()}


def submasks(bits: int) -> Iterator[int]:
    """All numbers that have no bit beyond some."""
    chosen = bits
    while True:
        yield chosen
        if not chosen:
            return
        chosen = chosen - 1 & bits


def row_of(word: int) -> Row | None:
    """The row that holds a word; None where every Armv8.0-A CPU has it, or none."""
    for row in _of_half(word >> 16):
        if word & row.mask == row.value:
            return row
    return None


@functools.cache
def _of_half(half: int) -> tuple[Row, ...]:
    """The rows that hold some word with this upper half of 16 bits."""
    return tuple(
        row
        for row in _index().get(half >> INDEX - 16, ())
        if not (half ^ row.value >> 16) & row.mask >> 16
    )


@functools.cache
def may_need(half: int) -> bool:
    """Whether some word with this upper half of 16 bits is in a row that needs something."""
    return any(row.features and not row.hint for row in _of_half(half))


# UDF: undefined for ever (DDI 0487, C4.1.1, "Reserved"). BRK and HLT: C6.2.
_MADE_TO_FAULT: tuple[tuple[int, int, str, Kind], ...] = (
    (0xFFFF0000, 0x00000000, "udf", "always-invalid"),
    (0xFFE0001F, 0xD4200000, "brk", "breakpoint"),
    (0xFFE0001F, 0xD4400000, "hlt", "trap"),
)


def is_unallocated(word: int) -> bool:
    """Whether a word is where the encoding (C4.1) has no instruction, or UDF alone."""
    return word >> 25 & 15 in (0b0001, 0b0011) or not word & 0x9E000000


def decode(code: bytes, text: str = "") -> Decoded:
    """The instruction at the start of some bytes, or in a disassembler's line.

    Args:
        code: little-endian; may be empty.
        text: the line; empty where there is none.

    Returns:
        Of the kind `unknown` where no row tells what it needs, and `undecodable` where no table
        holds the line's mnemonic.
    """
    raw = _RAW.match(text)
    if raw is not None and not code:
        code = int(raw[1], 16).to_bytes(4, "little")
    mnemonic, features, kind = _NOTHING
    if len(code) >= 4:
        mnemonic, features, kind = _of_word(int.from_bytes(code[:4], "little"))
    elif code:
        kind = "incomplete"
    if text and raw is None and (not code or not (features or mnemonic)):
        mnemonic = text.split(None, 1)[0].lower()
        features, hint = _of_text(text)
        if features:
            kind = "hint" if hint else "feature"
        elif mnemonic in ("udf", "brk", "hlt"):
            kind = next(row[3] for row in _MADE_TO_FAULT if row[2] == mnemonic)
        elif not is_mnemonic(mnemonic):
            kind = "undecodable"
    shown = mnemonic if raw is not None and mnemonic else text or mnemonic
    table = load_features()
    other = tuple(name for name in features if name not in table)
    if kind == "feature" and len(other) == len(features):
        kind = "unknown"
    return Decoded(
        code[:4],
        kind,
        mnemonic=mnemonic.partition(" ")[0].upper(),
        intel=shown,
        att=shown,
        features=features,
        other=other,
    )


_RAW = re.compile(r"\.(?:inst|word)\s+0x([0-9a-f]{8})\b", re.IGNORECASE)
_What = tuple[str, tuple[str, ...], Kind]
_NOTHING: _What = ("", (), "unknown")


def _of_word(word: int) -> _What:
    for mask, value, name, kind in _MADE_TO_FAULT:
        if word & mask == value:
            return f"{name} #{word >> (5 if mask & 0x1F else 0) & 0xFFFF:#x}", (), kind
    row = row_of(word)
    if row is not None and row.features:
        return row.mnemonic, row.features, "hint" if row.hint else "feature"
    return "", (), "undecodable" if is_unallocated(word) else "unknown"


# --- what a disassembler wrote ---


def is_mnemonic(word: str) -> bool:
    """Whether a word is the name of an instruction that some table holds, in any syntax."""
    return word.lower().partition(".")[0] in _stems()


@functools.cache
def _stems() -> frozenset[str]:
    everywhere: str = load_table("baseline")["a64"]["mnemonics"]
    return frozenset(everywhere.split()).union(name.partition(".")[0] for name in _by_mnemonic())


_VECTORS = re.compile(r"\b(?:z\d{1,2}|p\d{1,2}|pn\d{1,2}|ffr)\b")
_MATRIX = re.compile(r"\b(?:za\d{0,2}[hv]?|zt0)\b|^(?:rd|add)s[vp]l\b")
_HALVES = {"fullfp16": re.compile(r"\bh\d{1,2}\b"), "asimdhp": re.compile(r"\.[48]h\b|\.h\[")}
_QUADS = re.compile(r"\.1q\b")
_COUNTER = re.compile(r"\bpn\d")
_LIST = re.compile(r"\{\s*z\d+\S*\s+(?:-\s*)?z")
_GENERAL = re.compile(r"\b[wx](?:\d{1,2}|zr)\b")
_ANY_VECTOR = re.compile(r"\b[vzpbhsdq]\d{1,2}\b")
_IN_GENERAL = frozenset({"abs", "cnt", "ctz", "smax", "smin", "umax", "umin"})


@functools.cache
def _by_mnemonic() -> Mapping[str, tuple[Row, ...]]:
    found: dict[str, dict[Row, None]] = {}
    for row in rows():
        if row.features:
            kind = row._replace(mask=0, value=0)
            found.setdefault(row.mnemonic.split()[0], {})[kind] = None
    return {name: tuple(each) for name, each in found.items()}


def _of_text(text: str) -> tuple[tuple[str, ...], bool]:
    """The features that a line needs, as far as it tells, and whether it is a hint.

    Where several rows may be meant it is the one that builds on least: never none of them.
    """
    low = text.lower().replace(",", " ")
    words = low.split()
    named = [
        row
        for row in _by_mnemonic().get(words[0] if words else "", ())
        if set(row.mnemonic.split()) <= set(words)
    ]
    found = [row for row in named if _fits(row, low)]
    if not found and not any(row.shared for row in named):
        found = named  # by its name alone: RDVL has no register that tells
    if not found:
        return (), False
    least = min(found, key=lambda row: _needed(row, low))
    return tuple(sorted(least.features)), least.hint


@functools.cache
def _with_all(features: tuple[str, ...]) -> tuple[frozenset[str], bool]:
    """Features with all that they build on, and whether the table knows each of them."""
    table = load_features()
    known = [name for name in features if name in table]
    closed = frozenset(features).union(*(table.closure(name) for name in known))
    return closed, len(known) == len(features)


def _needed(row: Row, text: str) -> tuple[bool, bool, bool, int]:
    """How much a row needs, to be compared with others that a line may mean.

    What streaming mode knows as well is a line of SVE. Lists of vectors that are no operand of a
    load or a store, and predicates as counters, came with SVE2.1 and SME2.
    """
    names, told = _with_all(row.features)
    lists = _LIST.search(text) is not None and not text.startswith(("ld", "st"))
    newer = lists or _COUNTER.search(text) is not None
    mismatch = names.isdisjoint(("sme2", "sve2p1")) is newer
    return not told, mismatch, "sme" in names, len(names)


def _fits(row: Row, text: str) -> bool:
    """Whether the operands of a line can be those of a row."""
    names = set(row.features)
    all_names, _ = _with_all(row.features)
    matrix, vectors = _MATRIX.search(text) is not None, _VECTORS.search(text) is not None
    if "sme" in all_names:
        return matrix or vectors
    if "sve" in all_names:
        return vectors and not matrix
    if matrix or vectors:
        return False
    halves = next((_HALVES[name] for name in row.features if name in _HALVES), None)
    if halves is not None:
        return halves.search(text) is not None
    if names == {"pmull"}:
        return _QUADS.search(text) is not None
    if names == {"cssc"} and row.mnemonic in _IN_GENERAL:
        return _GENERAL.search(text) is not None and _ANY_VECTOR.search(text) is None
    return not row.shared
