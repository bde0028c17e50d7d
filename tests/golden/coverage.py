"""Which instruction forms the installed wasmtime emits, and which of them have no candidate.

`python -m tests.golden.coverage` compiles every operator in every shape with several sets of flags
and lists the forms beyond SSE2 that candidates.list lacks; exit 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator

from iced_x86 import Instruction, OpKind
from wasmtime import Config, Engine, Module, WasmtimeError, wat2wasm

from cpuprobe.code.forms import forms
from cpuprobe.code.walk import artifact_functions, code_name, reachable_instructions
from cpuprobe.wasm.operators import module_wat, operator_functions
from tests.golden.entries import FOLDER, assemble_entries, instructions, read_list

_SSE4 = ("has_sse3", "has_ssse3", "has_sse41", "has_sse42", "has_popcnt", "has_cmpxchg16b")
_V3 = (*_SSE4, "has_avx", "has_avx2", "has_fma", "has_bmi1", "has_bmi2", "has_lzcnt")
_V4 = (
    *_V3,
    "has_avx512f",
    "has_avx512vl",
    "has_avx512dq",
    "has_avx512bitalg",
    "has_avx512vbmi",
    "has_avx512vnni",
    "has_avx_vnni",
)
FLAG_SETS = {
    "v4": _V4,
    "avx": (*_SSE4, "has_avx"),
    "sse4.2": _SSE4,
    "sse4.1": _SSE4[:3],
    "ssse3": _SSE4[:2],
    "sse3": _SSE4[:1],
}
"""Sets that between them reach every lowering: Cranelift prefers the newest form it may use."""

Form = tuple[str, bool]
"""iced-x86 code name, and whether an operand is in memory."""


def form_of(instruction: Instruction) -> Form:
    """The form of one instruction."""
    kinds = (instruction.op_kind(i) for i in range(instruction.op_count))
    return code_name(instruction.code), OpKind.MEMORY in kinds


def _compile(wasm: bytes, flags: Iterable[str]) -> bytes:
    """Compile with the flags that wasmtime accepts on this host."""
    wanted = list(flags)
    while True:
        config = Config()
        config.wasm_wide_arithmetic = True
        config.wasm_threads = True
        config.wasm_relaxed_simd = True
        # Naming the target turns the inference of the host's flags off.
        config.target = "x86_64-unknown-linux-gnu"
        for flag in wanted:
            config.cranelift_flag_set(flag, "true")
        try:
            return bytes(Module(Engine(config), wasm).serialize())
        except WasmtimeError as error:
            refused = re.search(r'"(has_\w+)" is enabled, but not available', str(error))
            if refused is None or refused[1] not in wanted:
                raise
            wanted.remove(refused[1])


def emitted(flags: Iterable[str], wasm: bytes) -> Iterator[Form]:
    """Forms beyond SSE2 in the compiled module; a form may come several times."""
    for function in artifact_functions(_compile(wasm, flags)):
        for instruction in reachable_instructions(function):
            meaning = forms().meaning(instruction.code)
            if meaning.features or meaning.unknown:
                yield form_of(instruction)


def covered() -> set[Form]:
    """Forms that have a candidate."""
    entries = read_list((FOLDER / "candidates.list").read_text(encoding="ascii"))
    code = assemble_entries(entries)
    return {form_of(i) for e in entries for i in instructions(code[e.text])}


def every_operator() -> bytes:
    """A wasm module with every operator in every shape."""
    return bytes(wat2wasm(module_wat(operator_functions())))


def main() -> int:
    """Print what is missing; returns the exit code."""
    wasm = every_operator()
    have = covered()
    seen: set[Form] = set()
    for flags in FLAG_SETS.values():
        seen.update(emitted(flags, wasm))
    missing = sorted(seen - have)
    print(f"wasmtime emits {len(seen)} forms beyond SSE2, {len(missing)} without a candidate")
    for name, memory in missing:
        print(f"{name}, {'memory' if memory else 'registers'}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
