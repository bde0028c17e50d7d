"""Writes the headers in native/isa/x86_64/candidates from candidates.list, the model and the table.

`python -m tests.golden.regenerate` writes, `--check` compares and exits 1 on a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from iced_x86 import (
    EncodingKind,
    Instruction,
    InstructionInfoFactory,
    MemorySizeInfo,
    OpAccess,
    OpKind,
    Register,
    RegisterInfo,
    RflagsBits,
)

from cpuprobe.facts.features import CpuidBit, load_features
from tests.golden.entries import (
    FOLDER,
    Entry,
    assemble_entries,
    instructions,
    read_list,
)
from tests.golden.headers import (
    GENERATED,
    MAXIMUM_RESULTS,
    Banks,
    ListError,
    Result,
    Sets,
    checksum,
    command,
    explicit,
    initializers,
    literal,
    sets_header,
)
from tests.golden.headers import tables as tables_of
from tests.golden.inputs import INPUTS, VARIANTS
from tests.golden.machine import (
    AF,
    CF,
    OF,
    PF,
    SF,
    SOURCE_ADDRESS,
    TARGET_ADDRESS,
    ZF,
)
from tests.golden.semantics import execute

if TYPE_CHECKING:
    # The decoder's enumerations are modules at run time and classes only in its stubs.
    from iced_x86._iced_x86_py import Register as RegisterId

_WRITES = frozenset(
    {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
)
_FLAG_BITS = {
    RflagsBits.CF: CF,
    RflagsBits.PF: PF,
    RflagsBits.AF: AF,
    RflagsBits.ZF: ZF,
    RflagsBits.SF: SF,
    RflagsBits.OF: OF,
}
_BANKS: Banks = {
    "GPR": lambda state, index: state.gpr[index],
    "VECTOR": lambda state, index: state.vector[index],
    "MASK": lambda state, index: state.mask[index],
    "FLAGS": lambda state, index: state.rflags & index,
}
_VECTORS_SAVED = 8


def _register_result(register: RegisterId, legacy_width: int | None) -> Result | None:
    if Register.XMM0 <= register <= Register.ZMM31:
        info = RegisterInfo(register)
        return Result("VECTOR", info.number, legacy_width or info.size)
    if Register.K0 <= register <= Register.K7:
        return Result("MASK", register - Register.K0, 2)
    full = RegisterInfo(register).full_register
    if Register.RAX <= full <= Register.R15 and full != Register.RSP:
        return Result("GPR", full - Register.RAX, 8)
    return None


def _written(instruction: Instruction) -> list[Result]:
    """Locations that one instruction writes, by iced-x86's operand information."""
    info = InstructionInfoFactory().info(instruction)
    results: list[Result] = []
    for i in range(instruction.op_count):
        if instruction.op_kind(i) == OpKind.REGISTER and info.op_access(i) in _WRITES:
            result = _register_result(instruction.op_register(i), None)
            if result:
                results.append(result)
    named = {(r.location, r.index) for r in results}
    for used in info.used_registers():
        if used.access in _WRITES:
            # Registers that no operand names: CMPXCHG16B's pair, XMM0, the odd mask of a pair.
            result = _register_result(used.register, 16)
            if result and (result.location, result.index) not in named:
                results.append(result)
    for memory in info.used_memory():
        size = MemorySizeInfo(memory.memory_size).size
        if memory.access in _WRITES and memory.base == Register.RDI and size:
            results.append(Result("MEMORY", memory.displacement & 0xFFF, size))
    return results


def flag_mask(instruction: Instruction) -> tuple[int, int]:
    """Flags that an instruction defines, and those it leaves undefined."""
    defined = undefined = 0
    for bit, flag in _FLAG_BITS.items():
        if instruction.rflags_undefined & bit:
            undefined |= flag
        elif instruction.rflags_modified & bit:
            defined |= flag
    return defined, undefined


def results_of(entry: Entry, code: bytes) -> list[Result]:
    """The locations to compare after a candidate.

    Raises:
        ListError: none, or more than the core can compare.
    """
    if entry.results:
        return explicit(entry.results, _BANKS)
    merged: dict[tuple[str, int], Result] = {}
    flags = 0
    for instruction in instructions(code):
        for result in _written(instruction):
            old = merged.get((result.location, result.index))
            if old is None or old.size < result.size:
                merged[result.location, result.index] = result
        defined, undefined = flag_mask(instruction)
        flags = (flags | defined) & ~undefined
    results = list(merged.values())
    if flags:
        results.append(Result("FLAGS", flags, 2))
    if not 1 <= len(results) <= MAXIMUM_RESULTS:
        raise ListError(f"candidates.list:{entry.line}: {len(results)} results, say which")
    return results


def state_class(code: bytes) -> str:
    """The smallest register state that holds a candidate's inputs and outputs."""
    rank = 0
    for i in instructions(code):
        registers = [i.op_register(n) for n in range(i.op_count) if i.op_kind(n) == OpKind.REGISTER]
        vector = any(Register.XMM0 <= r <= Register.ZMM31 for r in registers)
        opmask = any(Register.K0 <= r <= Register.K7 for r in registers)
        mnemonic = f"{i:x}".split()[0]
        if i.encoding == EncodingKind.EVEX or opmask:
            rank = max(rank, 3)
        elif i.encoding != EncodingKind.LEGACY and (vector or mnemonic.startswith("v")):
            rank = max(rank, 2)
        elif vector or mnemonic.startswith(("fxsave", "xsave")):
            rank = max(rank, 1)
    return ("GPR", "SSE", "AVX", "AVX512")[rank]


def variants_of(entry: Entry, modelled: bytes, results: list[Result]) -> list[int]:
    """The checksum of the expected results for each further input; 0 where there is none.

    Raises:
        ListError: the model cannot say what the candidate does.
    """
    sums = []
    for number in range(1, VARIANTS):
        if INPUTS[entry.input].fixed:
            sums.append(0)
            continue
        state = INPUTS[entry.input].variant(number).state()
        try:
            execute(modelled, state)
        except ValueError as error:
            raise ListError(
                f"candidates.list:{entry.line}: {entry.name}, input {number}: {error}"
            ) from None
        sums.append(checksum(b"".join(r.value(state, _BANKS) for r in results)))
        if sums[-1] == 0:
            raise ListError(f"candidates.list:{entry.line}: a checksum of 0 means no input")
    return sums


def row(
    number: int,
    entry: Entry,
    code: dict[str, bytes],
    sets: Sets,
    kinds: dict[str, int],
) -> str:
    """One CANDIDATE row of table.h; `kinds` has the sets of results so far, and gets new ones.

    Raises:
        ListError: the model cannot say what the candidate does.
    """
    own = code[entry.text]
    modelled = code[entry.like] if entry.like else own
    if entry.input not in INPUTS:
        raise ListError(f"candidates.list:{entry.line}: no input set {entry.input!r}")
    results: list[Result] = []
    expected = b""
    variants = [0] * (VARIANTS - 1)
    if entry.check == "VALUE":
        results = results_of(entry, modelled)
        state = INPUTS[entry.input].state()
        try:
            execute(modelled, state)
        except ValueError as error:
            raise ListError(f"candidates.list:{entry.line}: {entry.name}: {error}") from None
        expected = b"".join(r.value(state, _BANKS) for r in results)
        variants = variants_of(entry, modelled, results)
        for r in results:
            if r.location == "VECTOR" and r.index >= _VECTORS_SAVED:
                raise ListError(f"candidates.list:{entry.line}: vector {r.index} is not saved")
            if r.location == "GPR" and state.gpr[r.index] in (SOURCE_ADDRESS, TARGET_ADDRESS):
                raise ListError(f"candidates.list:{entry.line}: a result is an address")
    elif entry.results:
        results = explicit(entry.results, _BANKS)
    hexadecimal = ",".join(f"0x{b:02x}" for b in own)
    kind = kinds.setdefault(initializers(results), len(kinds))
    return (
        f'CANDIDATE({number}, "{entry.name}", {sets.index(entry.features)}, "{hexadecimal}",\n'
        f"          {state_class(modelled)}, {entry.input}, {entry.check}, {kind},\n"
        f"          {literal(expected)}, VARIANTS({', '.join(f'{v:#x}' for v in variants)}))\n"
    )


def claims() -> list[tuple[str, CpuidBit]]:
    """Each feature and where CPUID claims it, in the order in which the core reads leaves."""
    where = [(name, feature.cpuid) for name, feature in load_features().items()]
    return sorted(where, key=lambda row: (row[1].leaf, row[1].subleaf))


def claims_header() -> str:
    """The whole of claims.h."""
    out = [f"/* {GENERATED} from profiles/features.toml: do not edit. */\n"]
    registers = ("eax", "ebx", "ecx", "edx")
    for name, bit in claims():
        place = f"{bit.leaf:#x}, {bit.subleaf}, {registers.index(bit.register)}, {bit.bit}, "
        place += f"{bit.width}, {bit.least}"
        out.append(f'CLAIM("{name}", {place})\n')
    return "".join(out)


def tables(text: str) -> tuple[str, str]:
    """The whole of table.h and of results.h for the text of candidates.list.

    Raises:
        ListError: the model cannot say what a candidate does.
    """
    entries = read_list(text)
    code = assemble_entries(entries)
    return tables_of(entries, lambda number, entry, *so_far: row(number, entry, code, *so_far))


def inputs_header() -> str:
    """The whole of inputs.h."""
    out = [f"/* {GENERATED} from tests/golden/inputs.py: do not edit. */\n"]
    for name, data in INPUTS.items():
        gpr = ", ".join(f"{data.gpr.get(n, 0):#x}" for n in range(16))
        mask = ", ".join(f"{m:#x}" for m in data.mask)
        vectors = "\n              ".join(literal(v) for v in data.vectors)
        memory = "\n             ".join(literal(data.memory[n : n + 64]) for n in range(0, 256, 64))
        out.append(
            f"INPUT({name}, {str(not data.fixed).lower()}, GPRS({gpr}),\n      MASKS({mask}),\n"
            f"      VECTORS({vectors}),\n      MEMORY({memory}))\n"
        )
    return "".join(out)


def made(text: str) -> dict[str, str]:
    """Every header by its name, for the text of candidates.list. Raises ListError."""
    table, results = tables(text)
    features = [name for name, _ in claims()]
    return {
        "table.h": table,
        "results.h": results,
        "sets.h": sets_header(read_list(text), features, "profiles/features.toml"),
        "claims.h": claims_header(),
        "inputs.h": inputs_header(),
    }


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the headers, or compare them with `--check`; returns the exit code."""
    return command(made, folder, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
