"""What is told of one function: what it needs, calls and hands on without a choice before."""

from __future__ import annotations

import functools
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cpuprobe.code.native import lib, name_of

# How an address leaves a function:
#   foreign   handed to a function of another file
#   kept      returned, or handed to any function
#   stored    in memory that is not static
#   called    it may be called, or what stands there
#   table     what stands there may be called, by its number
#   taken     in any way, by Go: what it takes is taken to be called
Way = Literal["foreign", "kept", "stored", "called", "table", "taken"]


FLAG = 1 << 7
"""Beside labels of arguments: it hangs on a flag of an object. Objects know much beside the CPU, so
that guards only what is named for CPUs."""


class Call(NamedTuple):
    """A direct call, or a jump to another function.

    Attributes:
        target: where to.
        site: its own address.
        unless: the labels of arguments; if one of them is an answer, the call is guarded. And FLAG.
        answers: of the arguments handed on, the labels of those that may be answers.
        tiers: on the way to features of which tiers (code.tiers), as bits.
        passed: of the arguments handed on, the caller's own (native/scan/ways.h).
        numbers: which small numbers are handed on (likewise).
    """

    target: int
    site: int
    unless: int
    answers: int
    tiers: int
    passed: int = 0
    numbers: int = 0

    def own(self, unless: int) -> int:
        """The labels of the caller's own arguments that are handed on as some."""
        own, handed = 0, unless >> 1 & lib.ARGUMENTS >> 1
        for at in range(handed.bit_length()):
            if handed >> at & 1:
                own |= self.passed >> lib.PASSED * at
        return int(own << 1 & lib.ARGUMENTS)

    def told(self, answers: int) -> int:
        """The labels of arguments that may be answers, where some of the caller's own are."""
        labels = (1 << at for at in range(1, lib.ARGUMENTS.bit_length()))
        return self.answers | sum(each for each in labels if self.own(each) & answers)


def numbers_of(labels: int) -> int:
    """The part of a call's `numbers` that is about arguments with some labels."""
    arguments = labels >> 1 & lib.ARGUMENTS >> 1
    bytes_of = (0xFF << 8 * at for at in range(arguments.bit_length()) if arguments >> at & 1)
    return int(sum(bytes_of) | arguments << lib.NUMBERED)


class Escape(NamedTuple):
    """A static address that leaves the function, so that others call what stands there.

    Attributes:
        address: it.
        way: how.
        unless: as Call has it.
        answers: likewise, of the arguments that it is called with; all where that is not seen.
        site: where.
        tiers: as Call has them.
    """

    address: int
    way: Way
    unless: int
    answers: int
    site: int
    tiers: int


# By their numbers in C.
_WAYS: tuple[Way, ...] = ("foreign", "kept", "stored", "called", "table", "taken")
NEED, CALL, ESCAPE = map(struct.Struct, ("<QII", "<QQIHHQQ", "<QQIBBH"))


@dataclass
class Summary:
    """One function.

    Attributes:
        found_needs: what it needs, as C has it; of most functions nobody asks.
        found_calls: likewise.
        found_escapes: likewise.
        stubs: entries of a PLT that stand for functions of this file.
        answers: the labels of the answers that it may return.
        returned: what is known of that (native/scan/ways.h).
        statics: static memory that it puts an answer into, as ways_keep has it.
        fields: how far behind a pointer it puts answers, as statics.
        hands: what it tells those that it calls, as ways_known's `arguments` has it.
        asks: it has CPUID or XGETBV itself.
        fails: of main, the tiers (code.tiers), as bits, without which it tells of failure.
    """

    found_needs: bytes = b""
    found_calls: bytes = b""
    found_escapes: bytes = b""
    stubs: Mapping[int, int] = field(default_factory=dict)
    answers: int = 0
    returned: int = 0
    statics: Collection[int] = ()
    fields: Collection[int] = ()
    hands: Collection[int] = ()
    asks: bool = False
    fails: int = 0

    @functools.cached_property
    def needs(self) -> dict[str, tuple[int, int]]:
        """Features that it executes on an unguarded way, with the first address of each."""
        needs = NEED.iter_unpack(self.found_needs)
        return {name_of(feature): (at, unless & ~FLAG) for at, feature, unless in needs}

    @functools.cached_property
    def calls(self) -> list[Call]:
        """What it calls on an unguarded way."""
        found = CALL.iter_unpack(self.found_calls)
        return [Call(self.stubs.get(target, target), *rest) for target, *rest in found]

    def calls_on(self, tiers: int) -> Iterator[Call]:
        """Those calls that are on the way to features of some tiers, as bits."""
        return (each for each in self.calls if each.tiers & tiers)

    @functools.cached_property
    def escapes(self) -> list[Escape]:
        """Addresses that leave it on an unguarded way."""
        found = ESCAPE.iter_unpack(self.found_escapes)
        return [
            Escape(address, _WAYS[way], unless, answers, site, of)
            for address, site, unless, way, answers, of in found
        ]
