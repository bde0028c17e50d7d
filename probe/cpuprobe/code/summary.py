"""What is told of one function: what it needs, calls and hands on without a choice before."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# How an address leaves a function:
#   foreign   handed to a function of another file
#   kept      returned, or handed to any function
#   stored    in memory that is not static
#   called    it may be called, or what stands there
#   table     what stands there may be called, by its number
#   taken     in any way, by Go: what it takes is taken to be called
Way = Literal["foreign", "kept", "stored", "called", "table", "taken"]


class Call(NamedTuple):
    """A direct call, or a jump to another function.

    Attributes:
        target: where to.
        site: its own address.
        unless: the labels of arguments; if one of them is an answer, the call is guarded.
        answers: of the arguments handed on, the labels of those that may be answers.
        tiers: on the way to features of which tiers (code.tiers), as bits.
    """

    target: int
    site: int
    unless: int
    answers: int
    tiers: int


class Escape(NamedTuple):
    """A static address that leaves the function, so that others call what stands there."""

    address: int
    way: Way
    unless: int
    site: int
    tiers: int


@dataclass
class Summary:
    """One function.

    Attributes:
        needs: features that it executes on an unguarded way, with the first address of each.
        calls: what it calls on an unguarded way.
        escapes: addresses that leave it on an unguarded way.
        answers: the labels of the answers that it may return.
        returned: what is known of that (native/scan/ways.h).
        statics: static memory that it puts an answer into, as ways_keep has it.
        fields: how far behind a pointer it puts answers.
        invokes: the labels of arguments that it calls, or hands to functions of other files.
        returns: a run may come back from it.
        asks: it has CPUID or XGETBV itself.
        whole: it was gone over to its end.
        steps: that took.
    """

    needs: dict[str, tuple[int, int]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    escapes: list[Escape] = field(default_factory=list)
    answers: int = 0
    returned: int = 0
    statics: Collection[int] = ()
    fields: Collection[int] = ()
    invokes: int = 0
    returns: bool = True
    asks: bool = False
    whole: bool = True
    steps: int = 1
