"""Every candidate is what its name and features say, and the generated tables are current."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import wasmtime
from iced_x86 import CpuidFeature, Instruction
from tests.every import every
from tests.golden import coverage, crosscheck, regenerate
from tests.golden.entries import (
    FOLDER,
    Entry,
    assemble,
    assemble_entries,
    instructions,
    plain,
    read_list,
    spell,
    wanted_encoding,
)
from tests.golden.headers import ListError
from tests.golden.inputs import INPUTS
from tests.golden.machine import HANDLERS
from tests.lab.common import LabMissing

from cpuprobe.facts.features import load_features
from cpuprobe.wasm.operators import module_wat, operator_functions

# What iced-x86 1.21 cannot say, with the reason.
UNKNOWN_TO_DECODER = {
    "apxf": "iced-x86 decodes no REX2 and no EVEX map 4",
    "movrs": "newer than iced-x86 1.21, as are the others",
    "avx10.2": "newer",
    "amx-movrs": "newer",
    "amx-avx512": "newer",
}
NO_CPUID_FEATURE_IN_DECODER = {
    "sahf": "iced-x86 calls LAHF and SAHF 8086 instructions; in 64-bit mode they have a CPUID bit",
    "ibt": "ENDBR64 is a NOP without it, and stands in every program",
    "hle": "iced-x86 has no name for a form with XACQUIRE",
}
# Features of the table that no instruction can prove from user space.
NOT_EXECUTABLE = {
    "xsaves": "privileged",
    "enqcmd": "needs a device and a PASID",
    "avx10.1": "a promise about AVX-512 features, with no instruction of its own",
    "usermsr": "the kernel has to allow each MSR",
    "uintr": "the kernel has to set CR4.UINTR",
    "hreset": "privileged",
    "kl": "the kernel has to set CR4.KL and load a wrapping key",
    "widekl": "likewise",
    "shstk": "the kernel hands shadow stacks to programs that are built for them",
    "tsxldtrk": "outside of a transaction it faults, and a transaction may abort for ever",
}
# What could be executed, but nothing at hand has it: no machine, no emulator, no older instruction.
NO_MODEL = {
    "amx-fp8": "no older instruction multiplies 8-bit floating-point numbers",
    "amx-tf32": "TF32 rounds, and what its rounding does nobody here could see",
}
# Helpers of sequences may use these without being named: every x86-64 CPU has them.
BASELINE = frozenset({"x87", "cx8", "cmov", "mmx", "fxsr", "sse", "sse2"})

ENTRIES = read_list((FOLDER / "candidates.list").read_text(encoding="ascii"))
FEATURE_NAMES = {v: k for k, v in vars(CpuidFeature).items() if isinstance(v, int)}


@cache
def machine_code() -> dict[str, bytes]:
    return assemble_entries(ENTRIES)


def decoded(entry: Entry) -> list[Instruction]:
    return instructions(machine_code()[entry.text])


each_decodable_entry = every(
    [e for e in ENTRIES if not UNKNOWN_TO_DECODER.keys() & set(e.features)],
    lambda entry: entry.name,
)


@each_decodable_entry
def test_bytes_decode_to_the_text(entry: Entry) -> None:
    code = machine_code()[entry.text]

    assert spell(code) == plain(entry.text)
    assert sum(i.len for i in decoded(entry)) == len(code)
    encoding = wanted_encoding(entry.text)
    assert encoding is None or {i.encoding for i in decoded(entry)} == {encoding}


@every(ENTRIES, lambda entry: entry.name)
def test_name_is_an_instruction_of_the_candidate(entry: Entry) -> None:
    if entry.short:
        assert entry.short in entry.text.split("; ")


@each_decodable_entry
def test_features_are_those_of_the_instructions(entry: Entry) -> None:
    """Each feature is one that iced-x86 names, and they imply all that it names."""
    table = load_features()
    named: set[str] = set()
    for instruction in decoded(entry):
        for number in instruction.cpuid_features():
            feature = table.by_iced.get(FEATURE_NAMES[number])
            if feature:
                named.add(feature.name)
    implied = set(entry.features).union(*(table.closure(f) for f in entry.features))

    assert set(entry.features) - named <= set(NO_CPUID_FEATURE_IN_DECODER)
    assert named <= implied | BASELINE


@each_decodable_entry
def test_only_the_two_areas_are_touched(entry: Entry) -> None:
    """Memory operands are based on rsi or rdi; nothing is privileged or leaves the candidate."""
    text = spell(machine_code()[entry.text])
    for instruction in decoded(entry):
        assert not instruction.is_privileged
        assert not instruction.is_stack_instruction
    for address in re.findall(r"\[([^]]*)\]", text):
        assert address.startswith(("rsi", "rdi"))


@every([e for e in ENTRIES if e.check == "TRANSACTION"], lambda entry: entry.name)
def test_a_transaction_that_aborts_ends_without_a_fault(entry: Entry) -> None:
    """An interrupt aborts it at any time: XEND, a fault outside of one, is jumped over then."""
    begin, *rest = decoded(entry)
    after = [i for i in rest if i.ip >= begin.near_branch_target]
    names = [f"{i:x}".split()[0] for i in after]

    assert names == ["xtest", "je", "xend"]
    assert after[1].near_branch_target == len(machine_code()[entry.text])


def test_names_are_unique_and_table_is_small_enough() -> None:
    names = [entry.name for entry in ENTRIES]

    assert len(set(names)) == len(names)
    assert len(names) < 1024  # MAXIMUM_CANDIDATES in native/core.h


def test_every_feature_has_a_candidate() -> None:
    table = load_features()
    tried = {feature for entry in ENTRIES for feature in entry.features}

    assert tried <= set(table)
    assert set(table) - tried == {*NOT_EXECUTABLE, *NO_MODEL}


@pytest.fixture(scope="module")
def operators() -> bytes:
    return coverage.every_operator()


@pytest.mark.parametrize("flags", ["v4", "sse4.2"])
def test_every_form_that_wasmtime_emits_has_a_candidate(flags: str, operators: bytes) -> None:
    """Registers and memory apart; `python -m tests.golden.coverage` tries more sets of flags.

    Whatever the host has: what it lacks is compiled on an emulated CPU.
    """
    try:
        forms = set(coverage.emitted(coverage.FLAG_SETS[flags], operators))
    except LabMissing as error:
        if os.environ.get("CPUPROBE_LAB") == "require":
            raise
        pytest.skip(str(error))

    assert len(forms) > {"v4": 250, "sse4.2": 60}[flags]
    assert forms - coverage.covered() == set()


@pytest.mark.lab
def test_an_emulated_cpu_compiles_the_same() -> None:
    """AVX-512 behind its flags, whatever CPU this is; the code is that of a host that has it."""
    operators = ("i64x2.mul", "i64x2.abs", "f32x4.add")
    functions = [each for each in operator_functions() if each.operator in operators]
    wasm = bytes(wasmtime.wat2wasm(module_wat(functions)))
    flags = coverage.FLAG_SETS["v4"]
    artifact = coverage.compile_emulated(wasm, flags)
    forms = {form for form, _ in coverage.forms_in(artifact)}

    assert {"EVEX_VPMULLQ_XMM_K1Z_XMM_XMMM128B64", "EVEX_VPABSQ_XMM_K1Z_XMMM128B64"} <= forms
    with suppress(wasmtime.WasmtimeError):
        assert artifact == coverage.compile_here(wasm, flags)


@pytest.mark.parametrize("text", ["lzcnt eax, ecx", "lzcnt rax, rcx"])
def test_lzcnt_is_told_from_bsr(text: str) -> None:
    """BSR's result is 31 or 63 minus LZCNT's: on the input they must differ."""
    (entry,) = (e for e in ENTRIES if e.name == text)
    source = INPUTS[entry.input].gpr[1] & (0xFFFFFFFF if "eax" in text else (1 << 64) - 1)
    bits = 32 if "eax" in text else 64

    assert source
    assert bits - source.bit_length() != source.bit_length() - 1


def test_tzcnt_always_has_a_zero_source() -> None:
    """BSF agrees with TZCNT on every other source."""
    found = [e for e in ENTRIES if e.text.startswith("tzcnt")]

    assert {e.name for e in found} == {
        "tzcnt eax, r11d",
        "tzcnt rax, r11",
        "tzcnt rax, qword ptr [rsi+0xC0]",
    }
    assert INPUTS["INT"].gpr[11] == 0
    assert INPUTS["INT"].memory[0xC0:0xC8] == bytes(8)


def test_generated_headers_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert regenerate.main(["--check"]) == 0, capsys.readouterr().err


def test_check_notices_a_stale_header(tmp_path: Path) -> None:
    for name in ("candidates.list", "table.h", "results.h", "sets.h", "claims.h", "inputs.h"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    assert regenerate.main(["--check"], tmp_path) == 0
    table = tmp_path / "table.h"
    table.write_text(table.read_text().replace("\\x01", "\\x02", 1))

    assert regenerate.main(["--check"], tmp_path) == 1
    assert regenerate.main([], tmp_path) == 0
    assert table.read_bytes() == (FOLDER / "table.h").read_bytes()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("avx2 | vpaddd ymm0, ymm1, ymm2", "expected features | instruction | input"),
        ("avx2 | vpaddd ymm0, ymm1, ymm2 | int | valu", "unknown field 'valu'"),
        ("avx2 | vpaddd ymm0, ymm1, ymm2 | ints", "no input set 'INTS'"),
        ("avx2 | vpaddq ymm0, ymm1 | int", "vpaddq ymm0, ymm1: "),
        ("sse2 | bswap eax | int", "no meaning for bswap"),
        ("sse2 | clc | int\nsse2 | clc | int", "'clc' appears twice"),
        ("avx | vaddps xmm0, xmm1, xmmword ptr [rsi+0x100] | int", "leaves the areas"),
        ("cmov | lea rax, [rdi] | int", "a result is an address"),
    ],
)
def test_mistakes_in_the_list_are_named(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "candidates.list").write_text(line + "\n")

    assert regenerate.main([], tmp_path) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "table.h").exists()


def test_a_row_is_what_the_core_expects() -> None:
    """Literal row: VPADDD of two vectors that the input set starts with 80007fff and 80000001."""
    text = "avx | vpaddd xmm0, xmm1, xmm2 | int\n"
    made, results = regenerate.tables(text)

    assert results.endswith("RESULT_SET({VECTOR, 0, 16})\n")
    assert made.startswith("/* GENERATED by `make golden` from candidates.list: do not edit. */\n")
    assert (
        'CANDIDATE(0, "vpaddd xmm0, xmm1, xmm2", 0, "0xc5,0xf1,0xfe,0xc2",\n'
        "          AVX, INT, VALUE, 0,\n"
        '          "\\x00\\x80\\x00\\x00' in made
    )


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("bzhi eax, ecx, edx", "GPR"),
        ("addps xmm0, xmm1", "SSE"),
        ("vaddps xmm0, xmm1, xmm2", "AVX"),
        ("vzeroupper", "AVX"),
        ("vpaddd xmm0{k1}, xmm1, xmm2", "AVX512"),
        ("kandw k0, k1, k2", "AVX512"),
        ("tilezero tmm0", "GPR"),
        ("movq mm0, qword ptr [rsi]; emms", "GPR"),
    ],
)
def test_state_class(text: str, state: str) -> None:
    assert regenerate.state_class(assemble([text])[0]) == state


def test_undefined_flags_are_not_compared() -> None:
    """SDM: LZCNT defines CF and ZF only; POPCNT defines all six."""
    _, made = regenerate.tables("lzcnt | lzcnt eax, ecx | int\npopcnt | popcnt eax, ecx | int\n")

    assert "{FLAGS, 0x41, 2}" in made
    assert "{FLAGS, 0x8d5, 2}" in made


def test_assembler_errors_name_the_instruction() -> None:
    with pytest.raises(ListError, match=r"^frobnicate xmm0: no such instruction"):
        assemble(["nop", "frobnicate xmm0"])


def test_model_knows_more_than_the_list() -> None:
    """A handler table that lost a family would not go unnoticed even with few candidates."""
    assert {"padd" + s for s in "bwdq"} | {"aesenc", "tdpbssd", "fmadd231ss"} <= set(HANDLERS)


OBSERVATION = (
    '{"observation": {"candidates": [["a", ["x"]], ["b", ["y"]], ["c", ["z", "w"]]],'
    ' "groups": [{"ran": ["ok", "sigill", "wrong"]}]}}'
)


def test_cross_check_counts_and_differences() -> None:
    run = crosscheck.parse("this CPU", OBSERVATION)
    lines, good = crosscheck.report([run])

    assert lines == [
        "3 candidates: 1 agree with this CPU, 2 by the model alone",
        "by the model alone (no emulator or CPU here confirms them): y (1), z,w (1)",
        "this CPU differs: c: wrong",
    ]
    assert not good


@pytest.mark.parametrize(
    "text", ["", "[]", '{"observation": {}}', OBSERVATION.replace('"ok", ', "")]
)
def test_cross_check_refuses_other_output(text: str) -> None:
    with pytest.raises(crosscheck.CrossCheckError, match=r"^QEMU: "):
        crosscheck.parse("QEMU", text)


def test_cross_check_without_executable(capsys: pytest.CaptureFixture[str]) -> None:
    assert crosscheck.main(["/nonexistent/cpuprobe-native"]) == 3
    assert capsys.readouterr().err.count("\n") == 1
