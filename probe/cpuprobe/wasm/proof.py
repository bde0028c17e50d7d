"""Proves the emitted flags on the installed wasmtime: by its code, and by what its code computes.

1. A child process compiles every WebAssembly operator in every shape with the flags.
2. Here its code is disassembled along its control flow, and every instruction that needs a feature
   outside the safe set is noted (`code_proof`).
3. Another child runs each of the functions on many inputs, natively and with Pulley, wasmtime's
   interpreter, and compares (`verify_child`, `comparison`).

wasmtime is never loaded into this process: a bad flag kills.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cpuprobe.errors import CannotMeasureError
from cpuprobe.evidence.installed import installed_version
from cpuprobe.scratch import temporary_folder
from cpuprobe.wasm.children import ChildError, lines_of, run_script
from cpuprobe.wasm.code_proof import function_features, prove_code
from cpuprobe.wasm.verification import Comparison, Death, Difference, Verification
from cpuprobe.wasm.verify_child import CANNOT, REFUSED

SILENCE = 120.0
"""Seconds a child may say nothing; compiling everything takes about 5 on an idle machine."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""

_SCRIPT = "from cpuprobe.wasm.verify_child import main; main(sys.argv[1])"


def _said(prefix: Sequence[str], request: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Starts a child of `verify_child` and yields what it says.

    Raises:
        ChildError: it did not finish.
        CannotMeasureError: there is no wasmtime, or no child can be started.
    """
    try:
        said = run_script(_SCRIPT, [json.dumps(request)], prefix=prefix, patience=SILENCE)
        for line in lines_of(said):
            yield json.loads(line)
    except ChildError as error:
        if error.code is None:
            raise CannotMeasureError(str(error)) from None
        raise


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
    with temporary_folder() as folder:
        path = os.path.join(folder, "operators.cwasm")
        progress("compiling", 0, 0)
        compiled: dict[str, Any] = {}
        try:
            for said in _said(prefix, {"do": "compile", "path": path, **asked}):
                compiled = said
        except ChildError as died:
            if died.code == CANNOT:
                raise CannotMeasureError(f"wasmtime {result.wasmtime}: {died.how}") from None
            stage = "flags" if died.code == REFUSED else "compile"
            return msgspec.structs.replace(result, death=Death(stage, died.how))
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
        for said in _said(prefix, request):
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
    except ChildError as died:
        if died.code == CANNOT:
            return msgspec.structs.replace(result, not_compared=died.how)
        if preparing == "pulley":
            why = f"Pulley, wasmtime's interpreter, is not available: {died.how}"
            return msgspec.structs.replace(result, not_compared=why)
        if at is None:
            return msgspec.structs.replace(result, death=Death("run", died.how))
        features = function_features(artifact, at["index"])
        return msgspec.structs.replace(result, death=Death("run", died.how, at["at"], features))
    if end is None:
        return msgspec.structs.replace(result, death=Death("run", "ended without a result"))
    return msgspec.structs.replace(
        result,
        comparison=msgspec.convert({**end, "different": different}, Comparison),
    )
