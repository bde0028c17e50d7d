"""Proves the emitted flags on the installed wasmtime: by its code, and by what its code computes.

1. A child process compiles every WebAssembly operator in every shape with the flags.
2. Here its code is disassembled along its control flow, and every instruction that needs a feature
   outside the safe set is noted (`prove_code`, which is pure).
3. Another child runs each of the functions on many inputs, natively and with Pulley, wasmtime's
   interpreter, and compares (`verify_child`, `comparison`).

wasmtime is never loaded into this process: a bad flag kills.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import IO, Any

import msgspec

from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence.installed import installed_version, package_folder
from cpuprobe.wasm.verify_child import CANNOT, REFUSED

try:
    from iced_x86 import Formatter, FormatterSyntax

    from cpuprobe.code.forms import forms
    from cpuprobe.code.walk import artifact_functions, code_name, reachable_instructions
except ImportError:
    raise CannotMeasureError(
        "iced-x86, the decoder, is not installed: pip install iced-x86"
    ) from None

SILENCE = 120.0
"""Seconds a child may say nothing; compiling everything takes about 5 on an idle machine."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from cpuprobe.wasm.verify_child import main; main(sys.argv[2])"
)
_WASM_FUNCTION = re.compile(r"^wasm\[0\]::function\[(\d+)\]")
_SHOWN = 50


class Outside(msgspec.Struct, frozen=True):
    """A form of instruction that needs more than the safe set.

    Attributes:
        form: iced-x86's name of it.
        features: what it needs and the set lacks, by canonical or else iced-x86's name.
        function: the first function it stands in, by the artifact's symbol.
        address: where, as an offset in the text section.
        instruction: as Intel writes it.
        count: how many there are in all.
    """

    form: str
    features: tuple[str, ...]
    function: str
    address: int
    instruction: str
    count: int


class CodeProof(msgspec.Struct, frozen=True):
    """What disassembly says.

    Attributes:
        functions: functions of the artifact, trampolines included.
        instructions: instructions that control flow reaches.
        forms: different forms among them.
        features: the features beyond x86-64-v1 that they need.
        outside: forms that need a feature outside the set.
    """

    functions: int
    instructions: int
    forms: int
    features: tuple[str, ...]
    outside: tuple[Outside, ...]


class Difference(msgspec.Struct, frozen=True):
    """The first case in which a function's native result is not Pulley's; values in memory order.

    Attributes:
        function: its name, operator and shape.
        operands: the operand slots, in hexadecimal.
        native: where, and what native code left there.
        pulley: the same of Pulley.
    """

    function: str
    operands: str
    native: str
    pulley: str


class Comparison(msgspec.Struct, frozen=True):
    """What running says.

    Attributes:
        ran: functions that ran.
        cases: how often, in all.
        traps: how many of the cases trapped, in both engines alike if nothing differs.
        open_nans: cases that differ in bits of a NaN that the specification leaves open.
        open_relaxed: cases in which native code took another of relaxed SIMD's choices.
        functions_different: functions that differ beyond that.
        different: the first of them.
    """

    ran: int
    cases: int
    traps: int
    open_nans: int
    open_relaxed: int
    functions_different: int
    different: tuple[Difference, ...]


class Death(msgspec.Struct, frozen=True):
    """A child that ended before its work was done.

    Attributes:
        stage: `flags` if wasmtime refused these, else `compile` or `run`.
        how: the signal, or wasmtime's words.
        function: what ran at the time, None while compiling.
        features: what the code of that function needs beyond x86-64-v1.
    """

    stage: str
    how: str
    function: str | None = None
    features: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        wasmtime: its version.
        flags: what it was given.
        safe: the features that its code may use.
        operators: wasm operators compiled.
        functions: operators in all their shapes.
        atomic: functions that are compiled and not run: Pulley has no atomics.
        left_out: proposals that this wasmtime does not have.
        code: what disassembly says, None if nothing was compiled.
        comparison: what running says, None if it did not come to an end.
        not_compared: why there is no comparison though nothing died; None otherwise.
        death: the child that died.
    """

    wasmtime: str | None
    flags: dict[str, bool]
    safe: tuple[str, ...]
    operators: int = 0
    functions: int = 0
    atomic: int = 0
    left_out: tuple[str, ...] = ()
    code: CodeProof | None = None
    comparison: Comparison | None = None
    not_compared: str | None = None
    death: Death | None = None

    @property
    def verdict(self) -> str:
        """One word.

        `proved`, `refused`, `died`, `outside`, `different`, or `unfinished`: nothing wrong was
        found, and not everything was tried.
        """
        if self.death is not None:
            return "refused" if self.death.stage == "flags" else "died"
        if self.code is not None and self.code.outside:
            return "outside"
        if self.comparison is not None and self.comparison.functions_different:
            return "different"
        return "unfinished" if self.code is None or self.comparison is None else "proved"


# --- the code ------------------------------------------------------------------------------------


def _needs(code: int) -> frozenset[str]:
    """Canonical names; iced-x86's own where the feature table has no row.

    Here TZCNT counts: Cranelift relies on what it does to zero.
    """
    meaning = forms().meaning(code)
    return frozenset(meaning.features + meaning.unknown)


def prove_code(artifact: bytes, safe: Collection[str]) -> CodeProof:
    """Looks for instructions that need a feature outside a set.

    iced-x86 lists for each form the features it needs, all of them together; a form that exists in
    two encodings (VEX and EVEX) is two forms. Names that mean one feature share a row of the table.

    Args:
        artifact: a compiled module, as `Module.serialize()` returns it.
        safe: canonical names. What they imply has to be among them.

    Raises:
        ArtifactError: it is damaged.
    """
    allowed = frozenset(safe)
    formatter = Formatter(FormatterSyntax.INTEL)
    counts: dict[int, int] = {}
    first: dict[int, tuple[str, int, str]] = {}
    functions = 0
    for function in artifact_functions(artifact):
        functions += 1
        for instruction in reachable_instructions(function):
            code = instruction.code
            counts[code] = counts.get(code, 0) + 1
            if counts[code] == 1 and (instruction.is_invalid or not _needs(code) <= allowed):
                text = "(bad)" if instruction.is_invalid else formatter.format(instruction)
                first[code] = (function.name, instruction.ip, text)
    outside = tuple(
        Outside(
            code_name(code),
            tuple(sorted(_needs(code) - allowed)),
            *where,
            count=counts[code],
        )
        for code, where in first.items()
    )
    used: set[str] = set().union(*(_needs(code) for code in counts))
    return CodeProof(functions, sum(counts.values()), len(counts), tuple(sorted(used)), outside)


def function_features(artifact: bytes, index: int) -> tuple[str, ...]:
    """What one wasm function's code needs beyond x86-64-v1.

    Args:
        artifact: a compiled module.
        index: the function's index in it.
    """
    for function in artifact_functions(artifact):
        found = _WASM_FUNCTION.match(function.name)
        if found is not None and int(found[1]) == index:
            codes = {instruction.code for instruction in reachable_instructions(function)}
            return tuple(sorted(set().union(*(_needs(code) for code in codes))))
    return ()


# --- the children --------------------------------------------------------------------------------


class _ChildDied(Exception):
    """How a child ended, in the message.

    Attributes:
        refused: wasmtime did not take the flags.
        cannot: this wasmtime has not what was asked for.
    """

    def __init__(self, how: str, code: int = 0) -> None:
        super().__init__(how)
        self.refused = code == REFUSED
        self.cannot = code == CANNOT


def _path() -> list[str]:
    """The children's sys.path: this process's, without the current folder."""
    folder = package_folder()
    if folder is None:
        raise CannotMeasureError("wasmtime is not installed: pip install wasmtime")
    return list(filter(None, sys.path))


def _child(prefix: Sequence[str], request: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Starts a child and yields what it says.

    Raises:
        _ChildDied: it did not come to its end.
    """
    command = [*prefix, sys.executable, "-c", _BOOT, json.dumps(_path()), json.dumps(request)]
    with tempfile.TemporaryFile() as errors:
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise CannotMeasureError(f"cannot start {command[0]}: {error.strerror}") from None
        with child:
            complete = False
            try:
                assert child.stdout is not None
                yield from _lines(child.stdout)
                complete = True
            finally:
                if not complete:
                    child.kill()
        errors.seek(0)
        if child.returncode != 0:
            raise _ended(child.returncode, errors.read())


def _lines(stream: IO[bytes]) -> Iterator[dict[str, Any]]:
    pending = b""
    while True:
        if not select.select([stream], [], [], SILENCE)[0]:
            raise _ChildDied(f"said nothing for {SILENCE:g} s and was killed")
        data = os.read(stream.fileno(), 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            said: dict[str, Any] = json.loads(line)
            yield said


def _ended(code: int, errors: bytes) -> _ChildDied:
    if code < 0:
        try:
            return _ChildDied(f"killed by {signal.Signals(-code).name}")
        except ValueError:
            return _ChildDied(f"killed by signal {-code}")
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return _ChildDied(lines[-1] if lines else f"exit code {code}", code)


# --- both ----------------------------------------------------------------------------------------


def _quiet(what: str, done: int, of: int) -> None:
    pass


def verify(
    flags: Mapping[str, bool],
    safe: Collection[str],
    *,
    operators: Sequence[str] = (),
    prefix: Sequence[str] = (),
    progress: Progress = _quiet,
) -> Verification:
    """Compiles, disassembles, runs and compares.

    Args:
        flags: every `has_*` flag that the installed wasmtime knows.
        safe: the features, by canonical name, that the code may use.
        operators: only these, by the text format's names; all of them if empty.
        prefix: what to start the children with, for example an emulator and its options.
        progress: told how far it is.

    Raises:
        CannotMeasureError: no wasmtime, or one whose Python API cannot do this.
        ArtifactError: wasmtime wrote an artifact that cannot be read.
    """
    result = Verification(installed_version(), dict(flags), tuple(sorted(safe)))
    asked = {"flags": dict(flags), "operators": list(operators)}
    with tempfile.TemporaryDirectory(prefix="cpuprobe-") as folder:
        path = os.path.join(folder, "operators.cwasm")
        progress("compiling", 0, 0)
        compiled: dict[str, Any] = {}
        try:
            for said in _child(prefix, {"do": "compile", "path": path, **asked}):
                compiled = said
        except _ChildDied as died:
            if died.cannot:
                raise CannotMeasureError(f"wasmtime {result.wasmtime}: {died}") from None
            stage = "flags" if died.refused else "compile"
            return msgspec.structs.replace(result, death=Death(stage, str(died)))
        progress("disassembling", 0, 0)
        with open(path, "rb") as file:
            artifact = file.read()
        result = msgspec.structs.replace(
            result,
            operators=compiled["operators"],
            functions=compiled["functions"],
            atomic=compiled["atomic"],
            left_out=tuple(compiled["left_out"]),
            code=prove_code(artifact, safe),
        )
        run = {"do": "run", "path": path, "proposals": compiled["proposals"], **asked}
        return _run(result, artifact, prefix, run, progress)


def _run(
    result: Verification,
    artifact: bytes,
    prefix: Sequence[str],
    request: Mapping[str, object],
    progress: Progress,
) -> Verification:
    at: dict[str, Any] | None = None
    preparing = ""
    total = result.functions - result.atomic
    different: list[Difference] = []
    end: dict[str, Any] | None = None
    progress("preparing to run", 0, 0)
    try:
        for said in _child(prefix, request):
            if "preparing" in said:
                preparing = said["preparing"]
            elif "at" in said:
                at = said
                # Some thousand lines a second come; a terminal needs fewer.
                if at["done"] % 100 == 0:
                    progress("running", at["done"], total)
            elif "different" in said:
                different.append(msgspec.convert(said["different"], Difference))
            else:
                end = said
    except _ChildDied as died:
        if died.cannot:
            return msgspec.structs.replace(result, not_compared=str(died))
        if preparing == "pulley":
            why = f"Pulley, wasmtime's interpreter, is not to be had: {died}"
            return msgspec.structs.replace(result, not_compared=why)
        if at is None:
            return msgspec.structs.replace(result, death=Death("run", str(died)))
        features = function_features(artifact, at["index"])
        return msgspec.structs.replace(result, death=Death("run", str(died), at["at"], features))
    if end is None:
        return msgspec.structs.replace(result, death=Death("run", "ended without a result"))
    return msgspec.structs.replace(
        result,
        comparison=msgspec.convert({**end, "different": different}, Comparison),
    )


def seconds_since(start: float) -> float:
    """Seconds from a value of `time.monotonic`, to a tenth."""
    return round(time.monotonic() - start, 1)
