"""Which instruction forms the installed wasmtime emits, and which of them have no candidate.

`python -m tests.golden.coverage` compiles every operator in every shape with several sets of flags
and lists the forms beyond SSE2 that candidates.list lacks; exit 1 if there is one. A set that this
host lacks is compiled on an emulated CPU that claims all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from iced_x86 import Instruction, OpKind
from wasmtime import Config, Engine, Module, WasmtimeError, wat2wasm

from cpuprobe.code.forms import forms
from cpuprobe.code.walk import artifact_functions, code_name, reachable_instructions
from cpuprobe.evidence.installed import installed_version
from cpuprobe.wasm.operators import module_wat, operator_functions
from tests.golden.entries import FOLDER, assemble_entries, instructions, read_list
from tests.lab.common import LabError, cache_dir, digest, locked, tail
from tests.lab.user import run_user

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


# Every feature behind a flag, claimed by an emulated CPU: compiling executes none of them. glibc's
# string functions would use AVX-512 before Python starts.
CLAIMS_ALL = "Haswell,x-force-features=on,+avx-vnni," + ",".join(
    f"+avx512{name}" for name in ("f", "vl", "dq", "bw", "cd", "vbmi", "bitalg", "vnni")
)
GLIBC = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512DQ,-AVX512BW"}


def compile_here(wasm: bytes, flags: Iterable[str]) -> bytes:
    """Compile with the flags.

    Raises:
        WasmtimeError: this host lacks one of them.
    """
    config = Config()
    config.wasm_wide_arithmetic = True
    config.wasm_threads = True
    config.wasm_relaxed_simd = True
    # Naming the target turns the inference of the host's flags off.
    config.target = "x86_64-unknown-linux-gnu"
    for flag in flags:
        config.cranelift_flag_set(flag, "true")
    return bytes(Module(Engine(config), wasm).serialize())


def compile_emulated(wasm: bytes, flags: Iterable[str]) -> bytes:
    """The same on a CPU that claims every feature, byte for byte; kept in the lab's cache.

    The module of all operators takes half a minute of an emulated CPU.

    Raises:
        LabMissing: QEMU is not installed.
        LabError: it failed.
    """
    names = list(flags)
    name = digest(wasm, " ".join(names), str(installed_version()))
    made = cache_dir() / f"operators-{name}.cwasm"
    with locked(made):
        if not made.exists():
            source = made.with_suffix(".wasm")
            source.write_bytes(wasm)
            new = made.with_suffix(".new")
            command = [sys.executable, "-m", "tests.golden.coverage", "--compile"]
            argv = [*command, str(source), str(new), *names]
            run = run_user(CLAIMS_ALL, argv, env=GLIBC, timeout=1800)
            source.unlink()
            if run.status != "exit 0":
                raise LabError(f"compiling ended with {run.status}: {tail(run.stderr.decode(), 2)}")
            new.rename(made)
    return made.read_bytes()


def compile_for(flags: Iterable[str], wasm: bytes) -> bytes:
    """Compile with the flags whatever the host has."""
    names = list(flags)
    try:
        return compile_here(wasm, names)
    except WasmtimeError as error:
        if "not available on the host" not in str(error):
            raise
    return compile_emulated(wasm, names)


def emitted(flags: Iterable[str], wasm: bytes) -> Iterator[Form]:
    """Forms beyond SSE2 in the module compiled with flags; a form may come several times."""
    return forms_in(compile_for(flags, wasm))


def forms_in(artifact: bytes) -> Iterator[Form]:
    """The same of what is compiled already."""
    for function in artifact_functions(artifact):
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


def main(arguments: Sequence[str]) -> int:
    """Print what is missing, or compile for `compile_emulated`; returns the exit code."""
    if arguments[:1] == ["--compile"]:
        source, made, *names = arguments[1:]
        Path(made).write_bytes(compile_here(Path(source).read_bytes(), names))
        return 0
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
    sys.exit(main(sys.argv[1:]))
