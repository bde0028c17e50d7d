"""`explain` of AArch64's code, on machines of that and of another instruction set."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import arm_fakes, fakes
from tests.elf_files import HEADER, elf, note

from cpuprobe.assessment import assess
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.core_file import read_core
from cpuprobe.evidence.crashes.told import of_text
from cpuprobe.evidence.machines import read_capture
from cpuprobe.report.explanation import Explanation, to_text, worded

PI4, PI5 = arm_fakes.BASE, (*arm_fakes.BASE, "lse", "rdm", "fullfp16", "asimdhp", "dotprod", "rcpc")
CASAL = "SIGILL\n=> 0xaaaac5d81234 <f+48>:\tcasal\tx1, x20, [x0]\n"
TRAP = "traps: a[1] trap invalid opcode ip:401000 sp:7ffd0 error:0 in a[400000+1000]\n"
AVX2 = TRAP + "Code: <c5> fd fe c1"


def explain(text: str, features: Sequence[str] | None = None) -> Explanation:
    """The answer on an aarch64 machine of some features; without them on an x86-64 one."""
    (crash,) = of_text(text.encode()).crashes
    if features is None:
        return worded(diagnose(crash, lambda: pytest.fail("this x86-64 machine was asked")))
    machine = arm_fakes.observation(arm_fakes.group(features))
    return worded(diagnose(crash, lambda: assess(machine), "pi", "pi.json", lambda: machine.isa))


# --- what a text shows ---


@pytest.mark.parametrize(
    ("text", "mnemonic", "features"),
    [
        # Linux before 4.17 and since; the marked word is at PC
        ("a[7]: undefined instruction: pc=0000ffff8a0c1234\nCode: d503201f aa0003e0 (f8210001)\n",
         "ldadd", ("lse",)),
        ("a[7]: unhandled exception: undefined instruction in a[aaaad5c30000+1000]\n"
         "CPU: 0 PID: 7 Comm: a Not tainted 6.1.0\nCode: ???????? (4e829420) d65f03c0\n",
         "sdot", ("dotprod",)),
        ("Internal error: Oops - undefined instruction: 0000000002000000 [#1] SMP\n"
         "Code: d503201f (b8e20021)\n", "ldaddal", ("lse",)),
        (CASAL, "casal", ("lse",)),
        # gdb that does not know the word
        ("SIGILL\n=> 0xaaaac5d81234 <f+48>:\t.inst\t0x04200000 ; undefined\n", "add", ("sve",)),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tfadd\tv0.8h, v1.8h, v2.8h\n", "fadd", ("asimdhp",)),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tfadd\tv0.4s, v1.4s, v2.4s\n", "fadd", ()),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tmrs\tx0, rndr\n", "mrs", ("rand",)),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tmrs\tx0, midr_el1\n", "mrs", ()),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tabs\tw0, w1\n", "abs", ("cssc",)),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tabs\tv0.4s, v1.4s\n", "abs", ()),
        ("SIGILL\n=> 0xaaaac5d81234 <f+4>:\tpmull\tv0.1q, v1.1d, v2.1d\n", "pmull", ("pmull",)),
    ],
)  # fmt: skip
def test_an_instruction_is_named_with_what_it_needs_and_not_judged_here(
    text: str, mnemonic: str, features: tuple[str, ...]
) -> None:
    """A kernel's marked word, a debugger's line: on x86-64 the feature is said, no more."""
    answer = explain(text)

    assert answer.verdict in ("foreign-isa", "kernel-crash")
    assert (answer.isa, answer.signal) == ("aarch64", "SIGILL")
    assert answer.instructions[0].intel.split()[0] == mnemonic
    assert answer.instructions[0].features == features
    assert answer.features == ()
    if answer.verdict == "foreign-isa":  # which machine it has to be judged on is said
        assert "does not judge" not in to_text("", [answer])
        assert ("--on FILE" in to_text("", [answer])) is bool(features)


def test_32_bit_arm_has_the_same_lines() -> None:
    text = "a[7]: undefined instruction: pc=b6f00000\npsr: 60000010\nCode: e1a00000 (e7f001f2)\n"

    assert {crash.isa for crash in of_text(text.encode()).crashes} == {"arm"}


# --- judged on a machine of that instruction set ---


@pytest.mark.parametrize(("features", "verdict"), [(PI4, "lacks"), (PI5, "has")])
def test_a_machine_of_its_own_judges_it(features: tuple[str, ...], verdict: str) -> None:
    """A Raspberry Pi 4 has no LSE, a Raspberry Pi 5 has it."""
    answer = explain(CASAL, features)

    assert answer.verdict == verdict
    assert [each.name for each in answer.features] == ["lse"]
    assert "x86" not in to_text("pi", [answer])


def test_udf_is_undefined_on_every_cpu() -> None:
    text = "SIGILL\n->  0xffffb82241f0: udf    #0xdead\n"

    assert explain(text, PI5).verdict == "always-invalid"
    assert explain(text).verdict == "foreign-isa"
    assert "for ever" in to_text("", [explain(text)])


def test_what_no_row_holds_is_not_called_missing() -> None:
    answer = explain("SIGILL\n=> 0xaaaac5d81234 <f+48>:\tldr\tx0, [x1]\n", PI4)

    assert (answer.verdict, answer.features) == ("unknown", ())


def test_a_line_that_no_table_knows_is_of_no_cpu() -> None:
    """Under SIGILL it is told as unknown; typed it is refused, as a line of x86 is."""
    answer = explain("SIGILL\n=> 0xaaaac5d81234 <f+48>:\tfrobnicate\tx0, x1\n", PI4)

    assert (answer.verdict, answer.features) == ("undecodable", ())
    assert "every CPU" not in answer.summary
    for line in ("frobnicate x0, x1", "vfrobnicate xmm0, xmm1"):
        with pytest.raises(CaptureError, match="no instruction that is known"):
            of_text(line.encode())


def test_a_hint_never_faults() -> None:
    answer = explain("SIGILL\n=> 0xaaaac5d81234 <f>:\tpaciasp\n", PI4)

    assert answer.verdict == "baseline"


def test_code_of_x86_is_not_judged_there_and_is_judged_here() -> None:
    assert explain(AVX2, PI5).verdict == "foreign-isa"
    (crash,) = of_text(AVX2.encode()).crashes
    machine = fakes.observation(fakes.group(fakes.V3))
    assert diagnose(crash, lambda: assess(machine)).verdict == "has"


@pytest.mark.parametrize("text", ["21 00 e2 b8", "b8e20021", "ldaddal w2, w1, [x1]"])
def test_what_is_typed_is_of_the_machines_instruction_set(text: str) -> None:
    """Bytes as they lie in memory, or the word as a number; a line tells by its operands."""
    answer = explain(text, PI4)

    assert (answer.verdict, answer.isa) == ("lacks", "aarch64")
    assert answer.instructions[0].bytes in ("2100e2b8", "")


@pytest.mark.parametrize("text", ["push rbp", "90", "mov eax, 1", "ud2", "0f 0b", "20 50 bf"])
def test_code_of_x86_is_not_called_fit_there(text: str) -> None:
    """Not even what every x86-64 CPU has."""
    assert explain(text, PI4).verdict == "foreign-isa"


@pytest.mark.parametrize("text", ["nop", "ret"])
def test_what_both_have_is_of_the_machine(text: str) -> None:
    assert explain(text, PI4).verdict != "foreign-isa"
    assert explain(text).verdict == "baseline"


def test_a_core_tells_the_word_at_pc(tmp_path: Path) -> None:
    """elf_prstatus of arm64: signal, X0 to X30, SP, PC, PSTATE; the code is in the core."""
    registers = [*range(31), 0x7000, 0x400004, 0x60000000]
    status = (
        bytes(12) + struct.pack("<H", 4) + bytes(98) + struct.pack("<34Q", *registers) + bytes(8)
    )
    told, code = note(1, status), bytes.fromhex("1f2003d5") + bytes.fromhex("2100e2b8")
    segments = [(4, 0, HEADER, 0, len(told)), (1, 5, HEADER + len(told), 0x400000, len(code))]
    core = bytearray(elf(told + code, segments, kind=4))
    core[18:20] = (183).to_bytes(2, "little")
    (tmp_path / "core").write_bytes(core)

    crash = read_core(str(tmp_path / "core"))
    machine = arm_fakes.observation(arm_fakes.group(PI4))
    answer = diagnose(crash, lambda: assess(machine), "pi", "", lambda: "aarch64")

    assert (crash.isa, crash.signal, crash.address) == ("aarch64", "SIGILL", 0x400004)
    assert crash.registers["x30"] == 30
    assert (answer.verdict, answer.instructions[0].decoded.mnemonic) == ("lacks", "LDADDAL")


def test_the_kernels_list_of_a_raspberry_pi_4_says_no(tmp_path: Path) -> None:
    """`cpuid` in it proves Linux 4.11, which lists `atomics` where they are."""
    lines = ["processor\t: 0", "Features\t: fp asimd evtstrm crc32 cpuid"]
    lines += ["CPU implementer\t: 0x41", "CPU architecture: 8", "CPU variant\t: 0x0"]
    path = tmp_path / "cpuinfo"
    path.write_text("\n".join([*lines, "CPU part\t: 0xd08", "CPU revision\t: 3", "", ""]))
    seen = read_capture(str(path))

    (crash,) = of_text(CASAL.encode()).crashes
    assert diagnose(crash, lambda: assess(seen), "pi", "", lambda: seen.isa).verdict == "lacks"


@pytest.mark.parametrize(
    ("level", "lacking", "advised"),
    [("8.2", ["lse", "rdm", "ccpp"], "armv8.0-a"), ("8.0", [], "armv8.0-a"), ("9.9", [], None)],
)
def test_an_image_may_want_a_level_of_this_architecture(
    level: str, lacking: list[str], advised: str | None
) -> None:
    """MongoDB's words on a Raspberry Pi 4; a level that there is not is only repeated."""
    text = f"WARNING: MongoDB requires ARMv{level}-A or higher, and your current system does not\n"
    here, answer = explain(text), explain(text, PI4)

    assert (here.verdict, answer.verdict) == ("level-missing", "level-missing")
    assert [each.name for each in answer.features if not each.safe] == lacking
    assert advised is None or f"baseline is {advised} or lower" in to_text("pi", [answer])
