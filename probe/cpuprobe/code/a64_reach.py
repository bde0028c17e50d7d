"""What A64 code of a file is reached without a choice: from its beginnings, by direct ways.

A choice is a branch on a flag: a bit or a byte of a static variable, or of the answer of a function
that tells of the CPU. Behind it nothing is followed. Indirect calls and jumps are not followed
either, so that what is not found here may be reached all the same.
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from cpuprobe.code import a64
from cpuprobe.code.a64_branches import branch_target, is_end, signed
from cpuprobe.code.a64_scan import is_outlined, words_of
from cpuprobe.code.needs import By, Reach
from cpuprobe.code.program import Binary, CodeBytes, asking_names, is_named_for_cpus

_STRAIGHT = 4096
"""Instructions that are followed from each beginning."""
MOST_FOLLOWED = 3_000_000
"""Instructions that are followed in one file, at 2 microseconds each; then the search ends."""
_MOST_BRANCHES = 1 << 16
_MOST_CALLS = 1 << 18
"""Ways that are kept for later: of one function, and to others. Further ones are not followed."""
_RELATIVE = 1027  # R_AARCH64_RELATIVE (ELF for the Arm 64-bit Architecture, 5.7)

_LENGTHS = frozenset({"cntb", "cntd", "cnth", "cntw", "rdvl"})
"""libgcc's unwinder, in every static program, asks for the length of a vector where a frame of SVE
code has one (config/aarch64/aarch64-unwind.h); code for SVE has more than these."""
_FLAG, _PAGE = "flag", "page"
_State = dict[int, tuple[str, int]]
"""What registers hold: an address (`page`), or a value that tells of the CPU (`flag`)."""


class _Start(NamedTuple):
    """A function, and where others come in on the way to it, and why."""

    address: int
    by: By
    begins: int


class _Section:
    """Executable bytes, and which of their words were met."""

    def __init__(self, code: CodeBytes) -> None:
        """None was. The procedure linkage table is passed over: it leads out."""
        self.words = array("I") if code.name.startswith(".plt") else words_of(code)
        self.start, self.end = code.address, code.address + 4 * len(self.words)
        self.seen = bytearray(len(self.words))


@functools.lru_cache(1 << 16)
def _needs(word: int) -> tuple[str, ...]:
    """The features without which a word dies; none of one that only asks for a length."""
    row = a64.row_of(word)
    return () if row is None or row.hint or row.mnemonic in _LENGTHS else row.features


class Reached:
    """What one file reaches.

    Attributes:
        ways: by feature, the first that was found.
        followed: how many instructions were; MOST_FOLLOWED: the rest is not known.
    """

    def __init__(self, file: Binary, wanted: frozenset[str]) -> None:
        """Follows it.

        Args:
            file: an AArch64 program or library.
            wanted: the features that are looked for.
        """
        self._file = file
        self._left = MOST_FOLLOWED
        self._sections = {code.index: _Section(code) for code in file.code}
        self._here = next(iter(self._sections.values()), _Section(CodeBytes(0, "", 0, b"")))
        self._wanted = set(wanted)
        self._slots = dict(_slots(file))
        self._asking = _asking_stubs(file)
        self._begins = frozenset(file.functions.starts())
        self.ways: dict[str, Reach] = {}
        pending = list(self._starts())
        most = len(pending) + _MOST_CALLS
        while pending and self._left > 0 and self._wanted:
            start = pending.pop()
            for called in self._follow(start):
                if len(pending) < most:
                    pending.append(start._replace(address=called))
        self.followed = MOST_FOLLOWED - self._left

    def _starts(self) -> Iterator[_Start]:
        """Where callers from outside come in; the last is followed first."""
        for address, names in self._file.exports.items():
            if not any(is_named_for_cpus(self._file.name(each), "AArch64") for each in names):
                yield _Start(address, "export", address)
        yield from (_Start(address, "load", address) for address in self._file.initial)
        if self._file.kind == "executable":
            yield _Start(self._file.entry, "run", self._file.entry)
            # What it hands to the C library as main (glibc, sysdeps/aarch64/start.S: X0).
            state: _State = {}
            for address, word in self._straight(self._file.entry):
                if word & 0xFC000000 == 0x94000000 or word & 0xFFFFFC1F == 0xD63F0000:
                    kind, main = state.get(0, ("", 0))
                    if kind == _PAGE and self._file.is_code(main):
                        yield _Start(main, "run", main)
                    return
                self._update(state, word, address)

    def _at(self, address: int) -> int | None:
        """Where an address is in the words of a section, which then is `_here`."""
        here = self._here
        if not here.start <= address < here.end:
            code = self._file.code_at(address)
            if code is None:
                return None
            self._here = here = self._sections[code.index]
        return (address - here.start) // 4 if address < here.end and not address & 3 else None

    def _straight(self, address: int) -> Iterator[tuple[int, int]]:
        for at in range(address, address + 4 * _STRAIGHT, 4):
            index = self._at(at)
            word = 0 if index is None else self._here.words[index]
            if is_end(word):
                return
            yield at, word

    def _follow(self, start: _Start) -> Iterator[int]:
        """Follows one function; the functions that it calls."""
        pending: list[tuple[int, _State]] = [(start.address, {})]
        while pending and self._left > 0:
            address, state = pending.pop()
            tested = False  # the condition flags tell of the CPU
            while self._left > 0 and self._wanted:
                at = self._at(address)
                if at is None or self._here.seen[at]:
                    break
                self._here.seen[at] = 1
                word = self._here.words[at]
                self._left -= 1
                if names := _needs(word):
                    self._meet(names, address, start)
                target = branch_target(word, address)
                if word & 0xFC000000 == 0x94000000 and target is not None:
                    yield target
                    state = {0: (_FLAG, 0)} if target in self._asking else {}
                elif target is not None and word & 0xFC000000 != 0x14000000:
                    register = word & 0x1F
                    conditional = word & 0xFF000000 == 0x54000000
                    kind, size = state.get(register, ("", 0))
                    # A pointer that is null is no flag: CBZ tells of the CPU by a byte or a bit.
                    told = kind == _FLAG and (not size or word & 0x7E000000 == 0x36000000)
                    if tested if conditional else told:
                        break
                    if len(pending) < _MOST_BRANCHES:
                        pending.append((target, dict(state)))
                elif target is not None:  # B: within the function, or a call at its end
                    address = target
                    continue
                if is_end(word):
                    break
                # What holds nothing only ADR and ADRP change.
                if state or tested or word & 0x1F000000 == 0x10000000:
                    tested = self._update(state, word, address, tested)
                address += 4
                if address in self._begins:  # behind a call that does not return
                    break

    def _meet(self, features: tuple[str, ...], address: int, start: _Start) -> None:
        new = [name for name in features if name not in self.ways]
        if not new or is_outlined(self._here.words, (address - self._here.start) // 4):
            return
        names = self._file.exports.get(start.begins, [])
        way = Reach(address, start.begins, start.by, self._file.name(names[0]) if names else "")
        for name in new:
            self.ways[name] = way
            self._wanted.discard(name)

    def _update(self, state: _State, word: int, address: int, tested: bool = False) -> bool:
        """What an instruction leaves in the registers; whether the flags tell of the CPU."""
        into, of = word & 0x1F, word >> 5 & 0x1F
        kind, value = state.get(of, ("", 0))
        if word & 0x9F000000 == 0x90000000:  # ADRP
            page = signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21) << 12
            state[into] = _PAGE, (address & ~0xFFF) + page
        elif word & 0x9F000000 == 0x10000000:  # ADR
            state[into] = _PAGE, address + signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21)
        elif word & 0xFFC00000 == 0x91000000 and kind == _PAGE:  # ADD of 64 bits
            state[into] = _PAGE, value + (word >> 10 & 0xFFF)
        elif word & 0x3FC00000 == 0x39400000 and kind == _PAGE:  # LDR, LDRH, LDRB: unsigned offset
            size = word >> 30
            place = value + ((word >> 10 & 0xFFF) << size)
            if size == 3 and place in self._slots:
                state[into] = _PAGE, self._slots[place]
            else:
                state[into] = _FLAG, size
        elif word & 0x7F800000 in (0x12000000, 0x72000000) or word & 0x7F800000 == 0x53000000:
            # AND, ANDS, UBFM of a flag leave one; ANDS sets the condition
            if word & 0x60000000 == 0x60000000:
                tested = kind == _FLAG
            state.pop(into, None)
            if kind == _FLAG:
                state[into] = _FLAG, 0
        elif word & 0x7F200000 in (0x6A000000, 0x6B000000) or word & 0x7F800000 == 0x71000000:
            tested = False  # TST of a register, CMP
            state.pop(into, None)
        elif word & 0x0A000000 != 0x08000000 or word & 0x00400000:
            state.pop(into, None)  # all but loads and stores of other forms
        return tested


def _slots(file: Binary) -> Iterator[tuple[int, int]]:
    """Addresses that the dynamic loader writes, by where it does."""
    for table in file.relocations.tables:
        for place, info, addend in struct.iter_unpack("<QQQ", table):
            if info & 0xFFFFFFFF == _RELATIVE:
                yield place, addend
    for address, content in file.relocations.words:
        for at, (value,) in enumerate(struct.iter_unpack("<Q", content[: len(content) & ~7])):
            if value and file.is_code(value):
                yield address + 8 * at, value


def _asking_stubs(file: Binary) -> frozenset[int]:
    """The entries of the procedure linkage table for functions that tell of the CPU."""
    names: dict[int, str] = {}
    symbols, strings = file.relocations.symbols, file.relocations.strings
    for table in file.relocations.tables:
        for place, info, _ in struct.iter_unpack("<QQQ", table):
            at = 24 * (info >> 32)
            if at and at + 24 <= len(symbols):
                start = int.from_bytes(symbols[at : at + 4], "little")
                name = strings[start : strings.find(b"\0", start)].decode("utf-8", "replace")
                if asking_names("AArch64").search(name):
                    names[place] = name
    found = set()
    for code in file.code if names else ():
        if not code.name.startswith(".plt"):
            continue
        table_words = words_of(code)
        for at in range(len(table_words) - 1):
            page, load = table_words[at], table_words[at + 1]
            # ADRP X16, page; LDR X17, [X16, offset] (AAELF64, "PLT sequences")
            if page & 0x9F00001F == 0x90000010 and load & 0xFFC003FF == 0xF9400211:
                address = code.address + 4 * at
                base = (address & ~0xFFF) + (
                    signed((page >> 5 & 0x7FFFF) << 2 | page >> 29 & 3, 21) << 12
                )
                if base + ((load >> 10 & 0xFFF) << 3) in names:
                    found |= {address, address - 4}  # BTI C may stand before
    return frozenset(found)


def straight(file: Binary) -> dict[str, int]:
    """The features that every run or load meets, with the first address of each.

    Followed as far as there is only one way: into direct calls, not past a condition, an indirect
    jump or a call out.
    """
    words = {code.index: words_of(code) for code in file.code}
    roots = (file.entry, *file.initial) if file.kind == "executable" else file.initial
    met: dict[str, int] = {}
    seen: set[int] = set()
    for root in roots:
        address, returns = root, list[int]()
        for _ in range(_STRAIGHT):
            code = file.code_at(address)
            at = 0 if code is None else (address - code.address) // 4
            if (
                address in seen
                or code is None
                or code.name.startswith(".plt")
                or at >= len(words[code.index])
            ):
                break
            seen.add(address)
            word = words[code.index][at]
            row = a64.row_of(word)
            if row is not None and not row.hint:
                for name in row.features:
                    met.setdefault(name, address)
            target = branch_target(word, address)
            if word & 0x7C000000 == 0x14000000 and target is not None:
                if word >> 31:
                    returns.append(address + 4)
                address = target
            elif target is not None:
                break
            elif word & 0xFFFFFC1F == 0xD65F0000 and returns:
                address = returns.pop()
            elif is_end(word) or word & 0xFE000000 == 0xD6000000:
                break
            else:
                address += 4
    return met
