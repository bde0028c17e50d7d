"""`check` of WebAssembly: which features the code needs that the installed wasmtime makes of it.

A module is compiled in children (`compile_child`), under limits of time and memory, with several
sets of flags; each artifact is read as any other .cwasm is (`code.cwasm`).
"""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from cpuprobe.check.against import HostCapabilities, feature_of
from cpuprobe.check.compiled import Compiled, Setup
from cpuprobe.check.judge import Fit, judge
from cpuprobe.code.archives.walk import BETWEEN
from cpuprobe.code.budget import BUDGET
from cpuprobe.code.cwasm import read_cwasm
from cpuprobe.code.elf import ArtifactError, read_sections
from cpuprobe.code.needs import Needs
from cpuprobe.evidence.installed import installed_version
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import UnknownWasmtimeError, lookup
from cpuprobe.scratch import temporary_folder
from cpuprobe.wasm.children import ChildError, run_script
from cpuprobe.wasm.compile_child import LARGEST, LARGEST_ARTIFACT
from cpuprobe.wasm.introspect import installed_flags

SECONDS = 16
"""Of CPU time for all that is made of one file: reading it comes on top, and 20 are the limit."""
MEMORY = 1 << 30
"""Bytes of address space."""
_LONGEST = 200
STEPS = 30
"""Steps more than for one file that its code may make for each byte: real modules make ten."""
MANY = 20
"""Modules beyond which each is compiled once, and no more: each time takes half a second."""
SMALL = 8 << 20
"""Bytes of an artifact beyond which a file is compiled once, and no more."""

# Cranelift takes a feature for there only if this one is on as well (cranelift/codegen/meta/src/
# isa/x86.rs: use_popcnt); checked by compiling without it.
_BESIDE = {"popcnt": "sse4.2"}

_SCRIPT = "from cpuprobe.wasm.compile_child import main; main(sys.argv[1])"


def check_module(
    path: str,
    against: HostCapabilities,
    safe: Mapping[str, bool] | None = None,
    *,
    once: bool = False,
) -> Fit:
    """Compiles a module and holds what comes of it against a machine.

    Args:
        path: the file.
        against: the machine.
        safe: this machine's safe flags, if that is another one.
        once: compile it for that machine alone.
    """
    return _Module(path, against).fit(safe, once)


def check_held(
    modules: Sequence[tuple[Fit, bytes]], against: HostCapabilities
) -> Iterator[tuple[Fit, Fit]]:
    """Compiles the modules that files hold, each once; those of one file share its time.

    Args:
        modules: each with what stands in its place.
        against: the machine.

    Yields what stood in a module's place, and what comes of it.
    """
    left: dict[str, float] = {}
    for fit, content in modules:
        holder = fit.path.partition(BETWEEN)[0]
        with memory_file(content) as path:
            module = _Module(fit.path, against, path, left.get(holder, float(SECONDS)))
            yield fit, module.fit(None, True)
        left[holder] = module.left


@contextmanager
def memory_file(content: bytes) -> Iterator[str]:
    """A file that lies in memory alone, by a path that children of this process can open."""
    number = os.memfd_create("module")
    try:
        with open(number, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/{os.getpid()}/fd/{number}"
    finally:
        os.close(number)


class _Module:
    """One file, and the time that is left for it."""

    def __init__(
        self, path: str, against: HostCapabilities, place: str = "", seconds: float | None = None
    ) -> None:
        """Of `path`, which is its name; it lies at `place` if that is elsewhere."""
        self._path = path
        self._place = place or path
        self._against = against
        self._most = float(SECONDS)
        self.left = self._most if seconds is None else seconds
        self._steps = BUDGET + STEPS * _size(self._place)

    def fit(self, safe: Mapping[str, bool] | None, once: bool) -> Fit:
        version = installed_version()
        if version is None:
            error = "WebAssembly: not read without wasmtime: pip install wasmtime"
            return Fit(path=self._path, expectation="unread", error=error)
        try:
            flags = target_flags(version, self._against)
            artifact = self._compile(flags)
            needs = read_cwasm(artifact, self._steps)
        except (ChildError, ArtifactError) as error:
            return Fit(path=self._path, expectation="unreadable", error=words_of(error))
        first = self._judged("target", needs)
        further = [first]
        if len(artifact) <= SMALL and not once:
            further += self._further(artifact, needs, flags, safe)
        fit = judge(self._path, needs, self._against)
        reason = f"compiled by wasmtime {version} with the flags of {self._against.name}"
        if fit.expectation != "runs":
            reason = f"{reason}: {fit.reason}"
        return msgspec.structs.replace(fit, reason=reason, compiled=tuple(further))

    def _further(
        self,
        artifact: bytes,
        needs: Needs,
        flags: Mapping[str, bool],
        safe: Mapping[str, bool] | None,
    ) -> Iterator[Compiled]:
        known = {frozenset(flag for flag in flags if flags[flag])}
        for setup, given in (("inferred", None), ("safe", safe)):
            if setup == "safe" and (given is None or _on(given) in known):
                continue
            made = self._attempt("inferred" if setup == "inferred" else "safe", given)
            known.add(frozenset(made.flags))
            yield made
        used = used_flags(needs, flags)
        if used == _on(flags):
            return
        try:
            least = self._compile({flag: flag in used for flag in flags})
            made = self._judged("least", read_cwasm(least, self._steps))
            yield msgspec.structs.replace(made, same=_text(least) == _text(artifact))
        except (ChildError, ArtifactError) as error:
            yield Compiled(setup="least", error=words_of(error))

    def _attempt(self, setup: Setup, flags: Mapping[str, bool] | None) -> Compiled:
        try:
            return self._judged(setup, read_cwasm(self._compile(flags), self._steps))
        except (ChildError, ArtifactError) as error:
            return Compiled(setup=setup, error=words_of(error))

    def _judged(self, setup: Setup, needs: Needs) -> Compiled:
        fit = judge(self._path, needs, self._against)
        return Compiled(
            setup=setup,
            flags=needs.engine.flags if needs.engine is not None else (),
            features={name: use.functions for name, use in needs.features.items()},
            expectation=fit.expectation,
            message=fit.message,
        )

    def _compile(self, flags: Mapping[str, bool] | None) -> bytes:
        """The artifact. Raises ChildError or ArtifactError."""
        if self.left < 1:
            raise ArtifactError(f"no time is left of the {self._most:.0f} s that it may take")
        artifact, taken = compile_file(self._place, flags, self.left)
        self.left -= taken
        return artifact


def compile_file(
    path: str, flags: Mapping[str, bool] | None, seconds: float
) -> tuple[bytes, float]:
    """What the installed wasmtime makes of a file, in a child with MEMORY bytes of address space.

    Args:
        path: a module or component, or the text of one.
        flags: every `has_*` flag; None: as wasmtime infers them on this machine.
        seconds: of CPU time that it may take.

    Returns the artifact, and how many of the seconds it took.

    Raises:
        ChildError: it cannot be compiled, or took too much; `words_of` says which.
    """
    with temporary_folder() as folder:
        artifact = os.path.join(folder, "module.cwasm")
        asked = {
            "path": os.path.abspath(path),
            "artifact": artifact,
            "flags": None if flags is None else dict(flags),
            "seconds": math.ceil(seconds),
            "memory": MEMORY,
        }
        said = b"".join(run_script(_SCRIPT, [json.dumps(asked)], patience=10 * seconds))
        with open(artifact, "rb") as file:
            return file.read(LARGEST_ARTIFACT), json.loads(said)["seconds"]


def _on(flags: Mapping[str, bool]) -> frozenset[str]:
    return frozenset(flag for flag, value in flags.items() if value)


def target_flags(version: str, against: HostCapabilities) -> dict[str, bool]:
    """Every flag that the installed wasmtime knows: on where a machine has it and all below it.

    Args:
        version: of the installed wasmtime.
        against: the machine.

    Raises:
        ChildError: its flags are not known, and it does not tell.
    """
    try:
        row = lookup(version)
        known: Collection[str] = row.flags
        refused: Collection[str] = row.refuses
    except UnknownWasmtimeError:
        known, refused = installed_flags(), ()
    table = load_features()
    flags = {}
    for flag in known:
        feature = feature_of(flag)
        flags[flag] = (
            feature is not None
            and flag not in refused
            and feature in against.detected
            and against.safe.issuperset({feature, *table.closure(feature)})
        )
    return flags


def used_flags(needs: Needs, flags: Mapping[str, bool]) -> frozenset[str]:
    """Of the flags that are on, those that code uses, and those that they need on."""
    table = load_features()
    features = {*needs.features}
    features = features.union(*(table.closure(name) for name in features))
    features = features.union(_BESIDE.get(name, "") for name in features)
    return frozenset(flag for flag in _on(flags) if feature_of(flag) in features)


def _text(artifact: bytes) -> bytes:
    found = [bytes(each.data) for each in read_sections(artifact) if each.name == ".text"]
    return found[0] if found else b""


def _size(path: str) -> int:
    try:
        return min(os.stat(path).st_size, LARGEST)
    except (OSError, ValueError):
        return 0


def words_of(error: ChildError | ArtifactError) -> str:
    """Why a module was not compiled, as one line."""
    code = error.code if isinstance(error, ChildError) else None
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return (
            f"compiling it takes too long: more than {SECONDS} s of CPU time "
            "(cpuprobe verify --module takes its time)"
        )
    if code == -signal.SIGABRT:
        return (
            f"wasmtime was killed by SIGABRT while it compiled it: it needs more than "
            f"{MEMORY >> 20} MiB, or has a fault"
        )
    if isinstance(error, ChildError) and code is not None and code > 0:
        how = error.how
        return f"wasmtime: {how if len(how) <= _LONGEST else f'{how[:_LONGEST]}...'}"
    return str(error)
