"""Writes native/isa/x86_64/candidates/table.h and inputs.h from candidates.list and the model.

`python -m tests.golden.regenerate` writes, `--check` compares and exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
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

from tests.golden.entries import (
    FOLDER,
    Entry,
    ListError,
    assemble_entries,
    instructions,
    read_list,
)
from tests.golden.inputs import INPUTS
from tests.golden.machine import (
    AF,
    CF,
    OF,
    PF,
    SF,
    SOURCE_ADDRESS,
    TARGET_ADDRESS,
    ZF,
    State,
    mask_of,
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
_MAXIMUM_RESULTS = 4
_VECTORS_SAVED = 8


@dataclass(frozen=True)
class Result:
    """Where a result is found: as the C core's `struct result`."""

    location: str
    index: int
    size: int

    def value(self, state: State) -> bytes:
        """Expected bytes, taken from the model's state."""
        if self.location == "GPR":
            number = state.gpr[self.index]
        elif self.location == "VECTOR":
            number = state.vector[self.index]
        elif self.location == "MASK":
            number = state.mask[self.index]
        elif self.location == "FLAGS":
            number = state.rflags & self.index
        else:
            return bytes(state.target[self.index : self.index + self.size])
        return (number & mask_of(8 * self.size)).to_bytes(self.size, "little")


def _explicit(text: str) -> list[Result]:
    """Parse `results vector0/32 gpr2/8 memory160/16`."""
    found = re.findall(r"(gpr|vector|mask|flags|memory)(\d+)/(\d+)", text)
    return [Result(kind.upper(), int(index), int(size)) for kind, index, size in found]


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
        return _explicit(entry.results)
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
    if not 1 <= len(results) <= _MAXIMUM_RESULTS:
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


def _bytes(data: bytes) -> str:
    return '"' + "".join(f"\\x{b:02x}" for b in data) + '"'


def row(number: int, entry: Entry, code: dict[str, bytes]) -> str:
    """One CANDIDATE row of table.h.

    Raises:
        ListError: the model cannot say what the candidate does.
    """
    own = code[entry.text]
    if entry.input not in INPUTS:
        raise ListError(f"candidates.list:{entry.line}: no input set {entry.input!r}")
    results: list[Result] = []
    expected = b""
    if entry.check == "VALUE":
        modelled = code[entry.like] if entry.like else own
        results = results_of(entry, modelled)
        state = INPUTS[entry.input].state()
        try:
            execute(modelled, state)
        except ValueError as error:
            raise ListError(f"candidates.list:{entry.line}: {entry.name}: {error}") from None
        expected = b"".join(r.value(state) for r in results)
        for r in results:
            if r.location == "VECTOR" and r.index >= _VECTORS_SAVED:
                raise ListError(f"candidates.list:{entry.line}: vector {r.index} is not saved")
            if r.location == "GPR" and state.gpr[r.index] in (SOURCE_ADDRESS, TARGET_ADDRESS):
                raise ListError(f"candidates.list:{entry.line}: a result is an address")
    elif entry.results:
        results = _explicit(entry.results)
    listed = ", ".join(
        f"{{{r.location}, {f'{r.index:#x}' if r.location == 'FLAGS' else r.index}, {r.size}}}"
        for r in results
    )
    hexadecimal = ",".join(f"0x{b:02x}" for b in own)
    return (
        f'CANDIDATE({number}, "{entry.name}", "{",".join(entry.features)}", "{hexadecimal}",\n'
        f"          {state_class(own)}, {entry.input}, {entry.check}, RESULTS({listed}),\n"
        f"          {_bytes(expected)})\n"
    )


def table(text: str) -> str:
    """The whole of table.h for the text of candidates.list."""
    entries = read_list(text)
    code = assemble_entries(entries)
    rows: list[str] = []
    errors: list[str] = []
    for number, entry in enumerate(entries):
        try:
            rows.append(row(number, entry, code))
        except ListError as error:
            errors.append(str(error))
    if errors:
        raise ListError("\n".join(errors))
    head = "/* GENERATED by `make golden` from candidates.list: do not edit. */\n"
    return head + "".join(rows)


def inputs_header() -> str:
    """The whole of inputs.h."""
    out = ["/* GENERATED by `make golden` from tests/golden/inputs.py: do not edit. */\n"]
    for name, data in INPUTS.items():
        gpr = ", ".join(f"{data.gpr.get(n, 0):#x}" for n in range(16))
        mask = ", ".join(f"{m:#x}" for m in data.mask)
        vectors = "\n              ".join(_bytes(v) for v in data.vectors)
        memory = "\n             ".join(_bytes(data.memory[n : n + 64]) for n in range(0, 256, 64))
        out.append(
            f"INPUT({name}, GPRS({gpr}),\n      MASKS({mask}),\n"
            f"      VECTORS({vectors}),\n      MEMORY({memory}))\n"
        )
    return "".join(out)


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Write both headers, or compare them with `--check`; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    try:
        made = {
            "table.h": table((folder / "candidates.list").read_text(encoding="ascii")),
            "inputs.h": inputs_header(),
        }
    except ListError as error:
        print(error, file=sys.stderr)
        return 2
    stale = [
        name
        for name, text in made.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="ascii") != text
    ]
    if options.check:
        for name in stale:
            print(f"{folder / name} is stale: run `make golden`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (folder / name).write_text(made[name], encoding="ascii")
    print(f"{made['table.h'].count('CANDIDATE(')} candidates, {len(INPUTS)} input sets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
