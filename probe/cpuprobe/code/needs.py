"""What a file holds, without a machine: plain data, ready for JSON."""

from __future__ import annotations

from typing import Literal

import msgspec

# How the bytes around an instruction are known to be code, best first:
#   artifact  a wasm function of a .cwasm, by control flow from its start
#   symbol    inside the range of a function symbol
#   unwind    inside the range of an entry of .eh_frame or .pdata, or of LC_FUNCTION_STARTS
#   sweep     neither; decoded straight on, and long enough without anything odd to pass for code
Confidence = Literal["artifact", "symbol", "unwind", "sweep"]


Kind = Literal["executable", "library", "object", "cwasm", "other"]

LARGE = 64
"""Bytes of a function below which compilers find little use for vectors."""
SPREAD = 0.60
"""Share of larger functions from which on a file counts as built for what they hold, if it was not
followed to the end what comes there."""
MOST_PLACES = 8
"""As many places are named for each feature of a file, those of lowest address."""
MOST_LISTED = 1 << 17
"""As many functions are listed where all are asked for: polars, compiled for AVX2, has 37,440."""


class Place(msgspec.Struct, frozen=True):
    """Where a feature's instructions stand.

    Attributes:
        name: the function's symbol; empty where there is none.
        address: of the first of these instructions, as the file numbers addresses.
        instructions: how many there are in this function.
        confidence: how the function is known.
    """

    name: str
    address: int
    instructions: int
    confidence: Confidence


class Use(msgspec.Struct, frozen=True):
    """One feature in one file.

    Attributes:
        instructions: how many need it.
        functions: in how many functions.
        by: how many of the instructions are known how.
        places: the first few functions, by address.
    """

    instructions: int
    functions: int
    by: dict[str, int]
    places: tuple[Place, ...]


class Function(msgspec.Struct, frozen=True):
    """One function that holds features which were asked for; all of it that a gate needs to know.

    Attributes:
        name: its symbol; empty where there is none, and for bytes that no function claims.
        start: where it begins, or where such bytes begin.
        address: of the first instruction with one of these features.
        last: of the last one.
        confidence: how it is known.
        features: how many instructions need each of them.
    """

    name: str
    start: int
    address: int
    last: int
    confidence: Confidence
    features: dict[str, int]


By = Literal["run", "load", "export", "handed"]


class Reach(msgspec.Struct, frozen=True):
    """How a feature is reached from outside of a file, without a choice before it.

    Attributes:
        address: of an instruction that needs it.
        begins: where the function begins that others call.
        by: why they do: every run or load begins there, it is exported, or it is handed to others.
        name: the function's symbol; empty where there is none.
    """

    address: int
    begins: int
    by: By
    name: str = ""


class Spread(msgspec.Struct, frozen=True):
    """How much of a file holds a set of features, and no other.

    Attributes:
        features: canonical names.
        pages: 4 KiB pages of executable bytes.
        functions: functions of 64 bytes and more, known by symbol or unwind entry.
    """

    features: tuple[str, ...]
    pages: int
    functions: int


class Coverage(msgspec.Struct, frozen=True):
    """How much of the executable bytes was looked at, in bytes.

    Attributes:
        total: all executable sections or segments together.
        symbol: inside the range of a function symbol.
        unwind: inside the range of an unwind entry alone.
        sweep: known by neither, but taken for code.
        padding: between functions.
        data: marked as data by a symbol.
        unknown: known by neither and not taken for code.
        discarded: instructions with a feature that were not believed.
        pages: 4 KiB pages in all; not bytes.
        functions: functions of 64 bytes and more in all; not bytes.
    """

    total: int = 0
    symbol: int = 0
    unwind: int = 0
    sweep: int = 0
    padding: int = 0
    data: int = 0
    unknown: int = 0
    discarded: int = 0
    pages: int = 0
    functions: int = 0


class Engine(msgspec.Struct, frozen=True):
    """What a .cwasm says of the engine that made it.

    Attributes:
        version: wasmtime's, for example `50`.
        target: triple.
        flags: the `has_*` flags that are on, in the artifact's order.
        beyond: features that the code uses though their flag is off or does not exist.
    """

    version: str
    target: str
    flags: tuple[str, ...]
    beyond: tuple[str, ...]


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What one file holds. No machine is in it.

    Attributes:
        kind: what sort of file it is.
        architecture: of its code, by ELF's names; `x86-64` is judged, others are not.
        features: by canonical name, without x86-64-v1.
        unknown: features that only iced-x86 names; they are told and not judged.
        entry: features on the way that every run or load takes, with the first address.
        reached: features that are reached from outside without a choice before.
        followed: whether the search for these came to its end.
        named: features that only functions hold which are named for a CPU, or stand in a list
            for one, so that callers choose; looked for where a library or an object does not ask.
        spread: how many pages and functions hold which features.
        functions: all that hold a feature that was asked for, by address; none was, as a rule. Of
            compiled wasm all that hold any feature.
        unlisted: how many of these there are beyond MOST_LISTED.
        sketch: by which two builds of it know each other (code.sketch); made with `functions`.
        isa_needed: psABI levels that its GNU property says it needs.
        isa_used: likewise, what it says it uses.
        dispatch: what in it may choose code at run time.
        ifuncs: how many functions are chosen at load time.
        coverage: how much was looked at.
        engine: for a .cwasm.
        loader: whether the dynamic loader checks isa_needed for it.
        appended: bytes behind the program, which are not read.
        go: the psABI level without which its Go runtime ends every run; empty: none is known.
    """

    kind: Kind
    architecture: str = "x86-64"
    features: dict[str, Use] = {}
    unknown: dict[str, Use] = {}
    entry: dict[str, int] = {}
    reached: dict[str, Reach] = {}
    followed: bool = False
    named: tuple[str, ...] = ()
    spread: tuple[Spread, ...] = ()
    functions: tuple[Function, ...] = ()
    unlisted: int = 0
    sketch: tuple[int, ...] = ()
    isa_needed: tuple[str, ...] = ()
    isa_used: tuple[str, ...] = ()
    dispatch: tuple[str, ...] = ()
    ifuncs: int = 0
    coverage: Coverage = Coverage()
    engine: Engine | None = None
    loader: bool = False
    appended: int = 0
    go: str = ""
