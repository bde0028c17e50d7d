"""Needs and a machine -> what is to be expected. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from cpuprobe.check.against import HostCapabilities, feature_of
from cpuprobe.check.compiled import Compiled
from cpuprobe.check.guard import evidence
from cpuprobe.code.needs import Engine, Function, Needs
from cpuprobe.facts.isa import facts_named
from cpuprobe.words import names

# What is to be expected of a file:
#   runs        it needs nothing that the machine lacks
#   guarded     what the machine lacks stands in islands that the file chooses at run time
#   unguarded   it contains what the machine lacks, and no choice in the file guards that
#   dies        an instruction that the machine lacks lies on the way that every run or load takes
#   refused     the dynamic loader or wasmtime will not load it
#   foreign     code of another architecture
#   unreadable  cut off, damaged, not to be read
#   unread      of a kind that is not read
Expectation = Literal[
    "runs", "guarded", "unguarded", "dies", "refused", "foreign", "unreadable", "unread"
]


class Permission(msgspec.Struct, frozen=True):
    """What a row of an allow-list allows of a file.

    Attributes:
        functions: how many.
        reason: the row's.
        refused: how many it would allow, were they not more than it says at most.
    """

    functions: int
    reason: str
    refused: int = 0


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """One file against one machine.

    Attributes:
        path: as it was found.
        expectation: see `Expectation`.
        fits: nothing known speaks against running it.
        reason: one sentence.
        message: what wasmtime or the dynamic loader will say, word for word, as far as known.
        missing: features that it contains and the machine lacks.
        needs: what it holds; None where it could not be read.
        error: why it could not be read.
        compiled: of a WebAssembly module, in which ways it was compiled.
        allowed: an allow-list allows all that the machine lacks.
        permissions: what its rows allow.
        excess: with an allow-list, the functions with what the machine lacks that it does not
            allow.
    """

    path: str
    expectation: Expectation
    fits: bool = False
    reason: str = ""
    message: str | None = None
    missing: tuple[str, ...] = ()
    needs: Needs | None = None
    error: str | None = None
    compiled: tuple[Compiled, ...] = ()
    allowed: bool = False
    permissions: tuple[Permission, ...] = ()
    excess: tuple[Function, ...] = ()


# wasmtime, crates/wasmtime/src/engine/serialization.rs and engine.rs: the words with which an
# artifact is refused, checked by loading altered artifacts (tests/unit/code/test_check_cwasm.py).
_VERSION = "Module was compiled with incompatible version '{}'"
_NOT_AVAILABLE = 'compilation setting "{}" is enabled, but not available on the host'
_NO_TEST = 'don\'t know how to test for target-specific flag "{}" at runtime'
_ARCHITECTURE = "Module was compiled for architecture '{}'"

# glibc 2.33 and later, sysdeps/x86/dl-prop.h, dl_isa_level_check.
_LOADER = "CPU ISA level is lower than required"

# Go, runtime/asm_amd64.s, bad_cpu.
_GO = "This program can only be run on AMD64 processors with {} microarchitecture support."


def judge(path: str, needs: Needs, against: HostCapabilities) -> Fit:
    """Holds one file against a machine.

    Args:
        path: for the answer.
        needs: what the file holds.
        against: the machine.
    """
    if needs.engine is not None:
        return _cwasm(path, needs, needs.engine, against)
    if needs.architecture != (code := facts_named(against.isa).code):
        reason = f"code for {needs.architecture}, not {code}"
        return Fit(path=path, expectation="foreign", reason=reason, needs=needs)
    missing = tuple(name for name in needs.features if name not in against.safe)
    refused = _refused(needs, against)
    if refused is not None:
        reason, message = refused
        return Fit(
            path=path,
            expectation="refused",
            reason=reason,
            message=message,
            missing=missing,
            needs=needs,
        )
    if not missing:
        return Fit(
            path=path,
            expectation="runs",
            fits=True,
            reason="contains nothing that is not safe there"
            if needs.coverage.total
            else "holds no code",
            needs=needs,
        )
    certain = {name: address for name, address in needs.entry.items() if name in missing}
    if certain:
        first = min(certain, key=lambda name: certain[name])
        return Fit(
            path=path,
            expectation="dies",
            reason=f"every {'run' if needs.kind == 'executable' else 'load'} meets an instruction "
            f"of {first} at {certain[first]:#x}, with no choice before it",
            missing=missing,
            needs=needs,
        )
    found = evidence(needs, missing)
    contained = f"contains {names(missing, 6)}"
    if all(set(needs.features[name].by) == {"sweep"} for name in missing):
        contained += " (in bytes without symbol or unwind entry, which may be data)"
    return Fit(
        path=path,
        expectation="guarded" if found.guarded else "unguarded",
        fits=found.guarded,
        reason=f"{contained}, {found.reason}",
        missing=missing,
        needs=needs,
    )


def _refused(needs: Needs, against: HostCapabilities) -> tuple[str, str] | None:
    """Why something ends a program or a library before it does anything, and in which words."""
    lacking = [name for name in needs.isa_needed if name not in against.levels]
    if lacking and needs.loader:
        return (
            f"its property note needs {lacking[-1]}: the dynamic loader (glibc 2.33 or later) will "
            "not load it",
            _LOADER,
        )
    if needs.go and needs.go not in against.levels:
        level = needs.go.rpartition("-")[2]
        return (
            f"a Go program built with GOAMD64={level}: without {needs.go} its runtime ends every "
            "run at once",
            _GO.format(level),
        )
    return None


def _cwasm(path: str, needs: Needs, engine: Engine, against: HostCapabilities) -> Fit:
    message = refusal(engine, against)
    missing = tuple(name for name in needs.features if name not in against.safe)
    loader = "" if against.wasmtime is None else f" {against.wasmtime}"
    if message is not None:
        return Fit(
            path=path,
            expectation="refused",
            reason=f"wasmtime{loader} will not load it",
            message=message,
            missing=missing,
            needs=needs,
        )
    unsafe = tuple(
        name
        for flag in engine.flags
        if (name := feature_of(flag, against.isa)) is not None and name not in against.safe
    )
    if missing:
        return Fit(
            path=path,
            expectation="dies",
            reason=f"wasmtime{loader} will load it, but its code uses {names(missing)}",
            missing=missing,
            needs=needs,
        )
    if engine.target.startswith("pulley"):
        reason = "bytecode for wasmtime's interpreter, no machine code: no CPU feature matters"
    elif unsafe:
        reason = f"wasmtime{loader} will load it; its code does not use {names(unsafe)}"
    else:
        reason = f"wasmtime{loader} will load it, as far as version, target and flags decide"
    return Fit(path=path, expectation="runs", fits=True, reason=reason, needs=needs)


def refusal(engine: Engine, against: HostCapabilities) -> str | None:
    """The words with which wasmtime refuses an artifact, None if it takes it.

    It compares the version, then the target, then each flag in the artifact's order. What it
    compares after that (tunables, wasm features) depends on how the host program sets its engine.
    """
    if against.wasmtime is not None and not _same_version(engine.version, against.wasmtime):
        return _VERSION.format(engine.version)
    architecture = engine.target.partition("-")[0]
    if architecture != facts_named(against.isa).target:
        return None if architecture.startswith("pulley") else _ARCHITECTURE.format(architecture)
    for flag in engine.flags:
        feature = feature_of(flag, against.isa)
        if feature is None or (against.flags is not None and flag not in against.flags):
            return _NO_TEST.format(flag)
        if feature not in against.detected:
            return _NOT_AVAILABLE.format(flag)
    return None


def _same_version(artifact: str, wasmtime: str) -> bool:
    """Whether a wasmtime takes an artifact's version for its own.

    Older ones write all of `14.0.0`, newer ones their major number alone (measured on the wheels,
    see code/engine_section.py). A host program may have set any text of its own.
    """
    return artifact == (wasmtime if "." in artifact else wasmtime.partition(".")[0])
