"""`cpuprobe explain`: bytes and text -> instruction, features, verdict, advice."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.command import cpuprobe
from tests.crash.answers import explained
from tests.every import every
from tests.examples import examples
from tests.fakes import AMD, V1, V2, V3, ZEN4, gds_machine, group, observation
from tests.golden.entries import FOLDER, assemble_entries, read_list

from cpuprobe.assessment import Assessment, assess
from cpuprobe.code.assembly import read_line
from cpuprobe.code.decode import decode
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.read import MAXIMUM_CRASHES, read_text
from cpuprobe.evidence.crashes.status import read_status
from cpuprobe.evidence.machines.read import parse_capture
from cpuprobe.evidence.text.hex import read_hex
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.explanation import to_text, worded

DATA = Path(__file__).parents[2] / "data" / "crash"
VPMULLQ = bytes.fromhex("62f2fd0840c1")
ENTRIES = read_list((FOLDER / "candidates.list").read_text(encoding="ascii"))
BASELINE = frozenset(load_levels()[0].features)


def machine(*features: str) -> Assessment:
    return assess(observation(group(features or V3), listed=features or V3))


def explain(crash: Crash | str, assessed: Assessment | None = None):
    if isinstance(crash, str):
        (crash,) = read_text(crash)
    return explained(crash, lambda: assessed or machine(*V2))


def minimal(features: set[str]) -> set[str]:
    """Without what others of the set imply, and without what every x86-64 CPU has."""
    table = load_features()
    implied = {each for name in features for each in table.closure(name)}
    return features - implied - BASELINE


@functools.cache
def machine_code() -> dict[str, bytes]:
    return assemble_entries(ENTRIES)


# --- the table ---


# Prefixes and NOPs that never fault: no crash is of them.
NAMED_BY_NO_FORM = {"ibt", "hle"}


@every(ENTRIES, lambda entry: entry.name)
def test_every_candidate_is_explained_by_its_features(entry):
    """Fed with the bytes of a candidate, explain names the features of the table."""
    answer = explain(Crash("bytes", code=machine_code()[entry.text], sequence=True))
    named = {feature.name for feature in answer.features}

    wanted = set(entry.features) - NAMED_BY_NO_FORM
    assert minimal(named) == minimal(wanted)
    if "apxf" not in entry.features:
        assert all(each.intel and each.att for each in answer.instructions)
        assert {each.kind for each in answer.instructions} <= {"feature", "baseline", "hint"}


# Its operands have another order in iced-x86 than anywhere else.
SPELT_STRANGELY = {"vgatherpf0dps"}


@every(ENTRIES, lambda entry: entry.name)
def test_every_candidate_is_known_by_its_text(entry):
    """Given an instruction in either syntax, its own features are among the ways it can have."""
    for one in decode(machine_code()[entry.text], sequence=True):
        if one.kind == "feature" and one.intel and one.intel.split()[0] not in SPELT_STRANGELY:
            for text in (one.intel, one.att):
                ways = read_line(text)

                assert one.features in [way.features for way in ways], text


def test_the_executable_lists_the_same_bytes():
    """What the tests above feed is what cpuprobe-native executes."""
    path = Path(__file__).parents[3] / "build" / "cpuprobe-native"
    if not path.exists():
        pytest.skip("build/cpuprobe-native is not built (make native)")
    listed = subprocess.run([path, "--list"], capture_output=True, check=True, text=True).stdout
    rows = {tuple(line.split("\t")[::2]) for line in listed.splitlines()}

    assert rows == {(entry.name, machine_code()[entry.text].hex()) for entry in ENTRIES}


# --- input ---


@pytest.mark.parametrize(
    "text",
    [
        "62 f2 fd 08 40 c1",
        "62f2fd0840c1",
        "62F2FD0840C1",
        "0x62f2fd0840c1",
        "0x62,0xf2,0xfd,0x8,0x40,0xc1",
        "{ 0x62, 0xf2, 0xfd, 0x08, 0x40, 0xc1 };",
        r"\x62\xf2\xfd\x08\x40\xc1",
        r'"\x62\xf2\xfd\x08\x40\xc1"',
        "62:f2:fd:08:40:c1",
        ".byte 0x62, 0xf2, 0xfd, 0x08, 0x40, 0xc1",
        "62h, f2h, fdh, 08h, 40h, c1h",
        "62f2 fd08\n40c1\n",
        "0x7ffff7fc1000:\t0x62\t0xf2\t0xfd\t0x08\t0x40\t0xc1",
        "=> 0x401136 <main+4>:\tvpmullq %xmm1,%xmm0,%xmm0",
        "=> 0x0000000000401136 <+4>:\t62 f2 fd 08 40 c1\tvpmullq %xmm1,%xmm0,%xmm0",
        "  401136:\t62 f2 fd 08 40 c1    \tvpmullq %xmm1,%xmm0,%xmm0",
        "->  0x100000f9c <+12>: vpmullq %xmm1, %xmm0, %xmm0",
        "vpmullq %xmm1,%xmm0,%xmm0",
        "  VPMULLQ xmm0, xmm0, xmm1",
        "Code: 00 00 c3 <62> f2 fd 08 40 c1",
    ],
)
def test_spellings_of_one_instruction(text):
    (crash,) = read_text(text)
    (one, *_) = explain(crash).instructions

    assert (one.intel, one.features) == ("vpmullq xmm0, xmm0, xmm1", decode(VPMULLQ)[0].features)
    assert crash.code == (VPMULLQ if "62" in text.lower() else b"")


@pytest.mark.parametrize("size", [2, 4, 8])
def test_words_of_gdb_are_little_endian(size):
    code = VPMULLQ + b"\xc3\x90"
    words = [code[at : at + size][::-1].hex() for at in range(0, 8, size)]
    (crash,) = read_text("0x401136 <main+4>:\t" + "\t".join(f"0x{word}" for word in words))

    assert crash.code == code


@pytest.mark.parametrize(
    "text", ["", "abc", "6", "62 f2 xx", "hello", "6 2 f 2", "\u0661\u0662", "0x", "62 f"]
)
def test_what_is_no_hexadecimal(text):
    assert read_hex(text) is None


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("addsd (%rax,%rbx,4),%xmm1", ()),
        ("vaddpd (%rax){1to8}, %zmm1, %zmm2{%k1}{z}", ("avx512f",)),
        ("vaddpd zmm2{k1}{z}, zmm1, QWORD PTR [rax]{1to8}", ("avx512f",)),
        ("vgatherdps %ymm1,(%rax,%ymm2,4),%ymm3", ("avx2",)),
        ("lock cmpxchg16b (%rdi)", ("cx16",)),
        ("vcvttsd2usi %xmm0,%rax", ("avx512f",)),
        ("popcntq %rax,%rbx", ("popcnt",)),
        ("cvtsi2sdq %rax,%xmm0", ()),
        ("movabs $0x1122334455667788,%rax", ()),
        ("lzcnt %eax,%ebx", ("lzcnt",)),
        ("mov 0x2ee4(%rip),%rax        # 0x555555558010 <foo>", ()),
        ("{vex} vpdpbusd %xmm1,%xmm2,%xmm3", ("avxvnni",)),
        ("vpdpbusd %xmm1,%xmm2,%xmm3", ("avx512vl", "avx512vnni")),
        ("fadd st, st(1)", ()),
        ("ud2", ()),
    ],
)
def test_assembler_lines(text, features):
    (crash,) = read_text(text)
    (one, *_) = explain(crash).instructions

    assert (one.features, one.bytes) == (features, "")


@pytest.mark.parametrize(
    ("text", "intel"),
    [
        ("popcntq %rax,%rbx", "popcnt rbx, rax"),
        ("addsd -8(%rax,%rbx,4),%xmm1", "addsd xmm1, [rax+rbx*4-8]"),
        ("mov %fs:0x28,%rax", "mov rax, fs:[0x28]"),
        ("vcmpeqps %ymm1,%ymm2,%ymm3", "vcmpeqps ymm3, ymm2, ymm1"),
        ("movabs $5,%rax", "mov rax, 5"),
        ("vmovdqu8 (%rdi,%rax,8),%zmm3{%k1}{z}", "vmovdqu8 zmm3{k1}{z}, [rdi+rax*8]"),
        ("vaddps {rn-sae},%zmm1,%zmm2,%zmm3", "vaddps zmm3, zmm2, zmm1{rn-sae}"),
    ],
)
def test_a_line_in_att_syntax_is_told_in_intels(text, intel):
    (crash,) = read_text(text)

    assert explain(crash).instructions[0].intel == intel


def test_the_operand_of_a_line_may_be_misaligned():
    """No bytes are needed to see that MOVAPS met an odd address."""
    crash = Crash(
        "session", text="movaps %xmm0,0x8(%rsp)", signal="SIGSEGV", registers={"rsp": 0x7FFE0000}
    )
    answer = explain(crash)

    assert answer.verdict == "alignment"
    assert "0x7ffe0008" in answer.summary


def test_other_encodings_of_a_line_are_told():
    answer = explain("vpaddd ymm1, ymm2, ymm3")

    assert [each.features for each in answer.ways] == [("avx512f", "avx512vl")]
    assert [each.features for each in answer.instructions] == [("avx2",)]


@pytest.mark.parametrize(
    "text",
    ["bogus %eax", "vpmullq %xmm1", "vpmullq %eax,%ebx,%ecx", "mov [", "add eax, ", "x" * 500],
)
def test_what_is_no_instruction(text):
    with pytest.raises(CaptureError):
        read_text(text)


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        ("132", "SIGILL"),
        ("-4", "SIGILL"),
        ("SIGILL", "SIGILL"),
        ("ill", "SIGILL"),
        ("0x84", "SIGILL"),
        ("139", "SIGSEGV"),
        ("-11", "SIGSEGV"),
        ("133", "SIGTRAP"),
        ("134", "SIGABRT"),
        ("136", "SIGFPE"),
        ("0xC000001D", "STATUS_ILLEGAL_INSTRUCTION"),
        ("3221225501", "STATUS_ILLEGAL_INSTRUCTION"),
        ("-1073741795", "STATUS_ILLEGAL_INSTRUCTION"),
        ("STATUS_ILLEGAL_INSTRUCTION", "STATUS_ILLEGAL_INSTRUCTION"),
        ("EXCEPTION_ILLEGAL_INSTRUCTION", "STATUS_ILLEGAL_INSTRUCTION"),
        ("0xc0000005", "STATUS_ACCESS_VIOLATION"),
        ("1", None),
        ("4", None),
        ("0", None),
    ],
)
def test_statuses(text, signal):
    assert read_status(text).signal == signal


def test_an_exit_code_that_may_be_the_loaders():
    """ld.so ends with 127 a program whose psABI level the CPU has not; 1 is the program's own."""
    reasons = {
        code: diagnose(read_status(code), lambda: machine(*V2)).reason
        for code in ("1", "125", "126", "127", "128")
    }

    assert reasons == dict.fromkeys(("1", "125", "128"), "own exit code") | dict.fromkeys(
        ("126", "127"), "not started"
    )


@pytest.mark.parametrize("text", ["", "-", "SIGNOTHING", "-999", "0xDEADBEEF", "1e3", "999", "4.0"])
def test_what_is_no_status(text):
    with pytest.raises(CaptureError):
        read_status(text)


# --- text of others ---


def test_lines_of_the_present_kernel_give_file_offsets():
    found = read_text((DATA / "dmesg-6.18.txt").read_text())

    assert [(each.signal, each.module, each.offset, each.origin) for each in found] == [
        ("SIGILL", "exe", 0x1129, "file"),
        ("SIGILL", None, None, "file"),
    ]
    assert [each.anonymous for each in found] == [False, True]


def test_lines_of_older_kernels_give_offsets_into_a_mapping():
    trap, *others = read_text((DATA / "dmesg-older.txt").read_text())

    assert (trap.signal, trap.module, trap.offset) == ("SIGILL", "libdead.so", 0x129)
    assert (trap.origin, trap.mapping_size) == ("mapping", 0x1000)
    fault, protection = others
    assert (fault.signal, fault.module, fault.code[:6]) == ("SIGSEGV", "app", VPMULLQ)
    assert (protection.signal, protection.module) == ("SIGSEGV", "my prog")


def test_illegal_instructions_come_first_and_not_all_are_shown():
    line = "traps: p[1] trap invalid opcode ip:{0:x} sp:7ffd error:0 in a{0}[{0:x},{0:x}+1000]\n"
    text = "".join(line.format(number) for number in range(1, 30))
    text += "x[2]: segfault at 0 ip 0000000000000010 sp 00007ffe50949e18 error 14\n"
    found = read_text(text)

    assert len(found) == MAXIMUM_CRASHES
    assert {each.signal for each in found} == {"SIGILL"}
    assert found[0].module == "a29"


def test_gdb_session():
    (crash,) = read_text((DATA / "gdb-session.txt").read_text())
    answer = explain(crash)

    assert (answer.signal, answer.verdict) == ("SIGILL", "lacks")
    assert [each.att for each in answer.instructions] == ["vpcmov %xmm3,%xmm2,%xmm1,%xmm0"]
    assert [each.name for each in answer.features] == ["xop"]


def test_coredumpctl_gives_module_and_offset_and_nothing_private():
    (crash,) = read_text((DATA / "coredumpctl.txt").read_text())
    answer = explain(crash)
    shown = to_text("this machine", [answer]) + json.dumps(json.loads(msgspec_json(answer)))

    assert (crash.signal, crash.module, crash.offset) == ("SIGILL", "libdead.so", 0x1129)
    for private in ("alice", "secret", "hunter2", "/home"):
        assert private not in shown


def msgspec_json(answer) -> bytes:
    from cpuprobe.report.explanation import to_json as explanation_json

    return explanation_json("this machine", [answer])


def test_a_listing_is_read_whole_unless_a_line_is_marked():
    listing = (
        "0:\t62 f2 fd 08 40 c1 \tvpmullq %xmm1,%xmm0,%xmm0\n6:\tf3 0f b8 d8 \tpopcnt %eax,%ebx\n"
    )
    (whole,) = read_text(listing)
    (marked,) = read_text(listing.replace("6:", "=> 6:"))

    assert [each.name for each in explain(whole).features] == ["popcnt", "avx512dq", "avx512vl"]
    assert [each.name for each in explain(marked).features] == ["popcnt"]


# --- verdicts ---


@pytest.mark.parametrize(
    ("text", "signal", "verdict"),
    [
        ("0f0b", "SIGILL", "trap"),
        ("0fb94005", "SIGILL", "trap"),
        ("cc", "SIGTRAP", "breakpoint"),
        ("f4", "SIGSEGV", "privileged"),
        ("4889c8", "SIGILL", "baseline"),
        ("4889c8", None, "baseline"),
        ("488b00", "SIGSEGV", "memory"),
        ("0f2800", "SIGSEGV", "alignment"),
        ("48f7f1", "SIGFPE", "arithmetic"),
        ("06", "SIGILL", "always-invalid"),  # PUSH ES
        ("82c001", "SIGILL", "always-invalid"),
        ("0f04", "SIGILL", "undecodable"),
        ("62f2fd", "SIGILL", "undecodable"),
        ("0f0d08", "SIGILL", "baseline"),  # PREFETCHW: a hint
        ("62f2fd0840c1", "SIGILL", "lacks"),
        ("f30fb8d8", "SIGILL", "has"),
        ("62f17c482800", "SIGSEGV", "alignment"),
        ("0f01c8", None, "unknown"),  # MONITOR: no row of the table
    ],
)
def test_verdicts(text, signal, verdict):
    """On an x86-64-v2 machine."""
    answer = explain(Crash("core file", code=bytes.fromhex(text), signal=signal))

    assert answer.verdict == verdict
    assert bool(answer.flags) == (verdict == "lacks")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((each, "cut short") for each in ("c5", "62", "d5", "8f", "8fe9", "0f0f", "0f0fc1", "0f")),
        *((each, "cut short") for each in ("66", "c7", "0f38", "0f38fc", "c4e37961c0", "0f01")),
        *((each, "") for each in ("0f04", "0f0a", "0f24", "0f3f", "0f7a", "f30f04")),
        *((each, "64-bit mode") for each in ("06", "27", "d6", "6660", "82", "8290909090")),
    ],
)
def test_bytes_end_inside_of_an_instruction_only_where_one_begins(text, reason):
    """The decoder asks for a ModRM of opcodes that are none."""
    crash = Crash("bytes", code=bytes.fromhex(text), sequence=True)
    answer = diagnose(crash, lambda: machine(*V2))

    assert answer.reason == reason
    assert len(answer.instructions) == 1
    assert answer.cut == 0


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (bytes(32), "data"),
        (b"\xff" * 32, "data"),
        (b"This is text, not code.......", "data"),
    ],
)
def test_data_executed_by_mistake(code, verdict):
    assert explain(Crash("core file", code=code, signal="SIGILL")).verdict == verdict


def test_memory_that_is_not_executable_holds_data():
    crash = Crash("core file", code=VPMULLQ, signal="SIGSEGV", executable=False)

    assert explain(crash).verdict == "data"


@pytest.mark.parametrize("text", ["134", "SIGKILL", "-15"])
def test_signals_that_no_instruction_raises(text):
    assert explain(read_status(text)).verdict == "sent"


def test_a_signal_that_was_sent_blames_no_instruction():
    crash = Crash("core file", code=VPMULLQ, signal="SIGILL", sent=True)

    assert explain(crash).verdict == "sent"
    assert explain(crash).features == ()


@pytest.mark.parametrize(("address", "verdict"), [(0x1008, "alignment"), (0x1010, "memory")])
def test_alignment_is_judged_by_the_registers(address, verdict):
    """movaps xmm0, [rax + 8*rcx + 16]."""
    crash = Crash(
        "core file",
        code=bytes.fromhex("0f2844c810"),
        signal="SIGSEGV",
        registers={"rax": address - 0x18, "rcx": 1, "rip": 0x400000},
    )
    answer = explain(crash)

    assert answer.verdict == verdict
    assert (hex(address) in answer.summary) == (verdict == "alignment")


@pytest.mark.parametrize("code", ["0f1000", "c5f81000", "c5fc5800", "660f3a630005"])
def test_unaligned_operands_are_no_fault_where_they_may_be(code):
    assert (
        explain(Crash("core file", code=bytes.fromhex(code), signal="SIGSEGV")).verdict == "memory"
    )


def test_lzcnt_is_said_never_to_fault():
    assert any("BSR" in note for note in explain("f30fbdd8").notes)


# --- the machine ---


def test_a_withheld_feature_comes_with_cause_flags_and_remedy():
    """The GDS-mitigated Skylake: AVX2 in CPUID, off in XCR0, because of a kernel parameter."""
    answer = explain("vpaddd ymm1, ymm2, ymm3", assess(gds_machine(wasmtime="50.0.1")))
    (avx2,) = answer.features

    assert (answer.verdict, avx2.state, avx2.safe) == ("lacks", "withheld", False)
    assert "GDS" in avx2.cause or "Gather" in avx2.cause
    assert avx2.remedy
    assert answer.flags["has_avx2"] is False
    assert answer.flags["has_avx512f"] is False  # what builds on it goes too
    assert "has_avx" not in answer.flags
    assert any("cranelift-has_avx2=false" in line for line in answer.advice)


def test_one_missing_feature_of_two_is_the_only_one_blamed():
    features = (*V3, "avx512f", "avx512vl")
    assessed = assess(
        observation(
            group(features, xcr0=0xE7, vendor=AMD, signature=ZEN4),
            listed=features,
            vendor=AMD,
            signature=ZEN4,
            wasmtime="50.0.1",
        )
    )
    answer = explain("vpmullq %xmm1,%xmm0,%xmm0", assessed)

    assert {each.name: each.safe for each in answer.features} == {
        "avx512dq": False,
        "avx512vl": True,
    }
    assert answer.flags == {"has_avx512dq": False}


@pytest.mark.parametrize("runtimes", [frozenset(), frozenset({"wasmtime"})])
def test_compiled_code_in_a_file_is_no_matter_of_wasmtime(runtimes):
    """Not even where wasmtime runs in the same process."""
    crash = Crash(
        "core file",
        code=VPMULLQ,
        signal="SIGILL",
        module="libfoo.so",
        offset=1,
        anonymous=False,
        runtimes=runtimes,
    )
    advice = "\n".join(explain(crash).advice)

    assert "libfoo.so is compiled code" in advice
    assert "cranelift" not in advice


def test_a_module_that_wasmtime_compiled_is_a_matter_of_wasmtime():
    crash = Crash(
        "core file", code=VPMULLQ, signal="SIGILL", module="app.cwasm", offset=1, anonymous=False
    )

    assert "cranelift" in "\n".join(explain(crash).advice)


def test_the_module_tells_the_knob():
    pytest.importorskip("cpuprobe.facts.runtimes")
    code = bytes.fromhex("c5edfecb")
    crash = Crash("core file", code=code, signal="SIGILL", module="libc.so.6", anonymous=False)
    made = Crash(
        "core file", code=code, signal="SIGILL", anonymous=True, modules=("libc.so.6", "libjvm.so")
    )

    assert any("GLIBC_TUNABLES" in line for line in explain(crash).advice)
    advice = "\n".join(explain(made).advice)
    assert "UseAVX" in advice
    assert "GLIBC_TUNABLES" not in advice
    assert "cranelift" not in advice


def test_the_machine_is_not_asked_if_nothing_depends_on_it():
    def never() -> Assessment:
        raise AssertionError("asked")

    for code in ("0f0b", "90", "f4", "06"):
        explained(Crash("bytes", code=bytes.fromhex(code), sequence=True), never)


def test_text_is_at_most_a_hundred_columns():
    answer = explain("vpaddd ymm1, ymm2, ymm3", assess(gds_machine(wasmtime="50.0.1")))

    assert max(map(len, to_text("this machine", [answer]).splitlines())) <= 100


# --- hostile ---


@examples(300)
@given(st.text(max_size=300))
def test_any_text_is_explained_or_refused_in_one_line(text):
    try:
        found = read_text(text)
    except CaptureError as error:
        assert "Traceback" not in str(error)
        return
    for crash in found:
        explain(crash)


@examples(300)
@given(st.binary(min_size=1, max_size=64), st.booleans())
def test_any_bytes_are_explained(code, sequence):
    for signal in (None, "SIGILL", "SIGSEGV"):
        answer = explain(Crash("core file", code=code, sequence=sequence, signal=signal))
        assert answer.summary


@examples(200)
@given(
    st.lists(
        st.sampled_from(
            [
                *"%$(){}[],;:#<>=*+- \t\n",
                *("0x", "vpmullq", "xmm0", "%zmm1", "{k1}", "1to8", "rax", "62", "Code: ", "ip:"),
                *(" sp:", " error:0", " in ", "trap invalid opcode", "#0  0x", "dword ptr "),
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_text_made_of_the_readers_own_words(text):
    try:
        for crash in read_text(text):
            explain(crash)
    except CaptureError:
        pass


def test_long_input_takes_no_long_time():
    """Lines that could make an expression backtrack."""
    for piece in (
        "trap " * 5000,
        "0x1 <" * 8000,
        "Code: " + "00 " * 20000,
        "in a[" * 9000,
        "0" * 60000,
    ):
        with pytest.raises(CaptureError):
            read_text(piece + "\n" + piece)


# --- the command ---


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return cpuprobe("explain", *arguments, stdin=stdin)


@pytest.fixture
def v2_report(tmp_path: Path) -> Path:
    observed = observation(group(V2), listed=V2)
    path = tmp_path / "v2.json"
    path.write_bytes(to_json(make_report(observed, assess(observed))))
    return path


def test_command_on_another_machine(v2_report: Path):
    result = run("62", "f2", "fd", "08", "40", "c1", "--on", str(v2_report), "--json")
    document = json.loads(result.stdout)

    assert result.returncode == 1
    assert (document["schema"], document["machine"]) == ("cpuprobe.explain/1", "v2.json")
    (crash,) = document["crashes"]
    assert crash["verdict"] == "lacks"
    assert [each["name"] for each in crash["features"]] == ["avx512dq", "avx512vl"]
    assert [each["state"] for each in crash["features"]] == ["absent", "absent"]
    assert crash["flags"]["has_avx512dq"] is False


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (("0f 0b",), b"", 0, b"Not a missing feature"),
        (("--exit-code", "-4"), b"", 0, b"SIGILL"),
        (("--exit-code", "132", "0f0b"), b"", 0, b"SIGILL"),
        (("--log", "-"), (DATA / "dmesg-6.18.txt").read_bytes(), 0, b"exe + 0x1129"),
        (("90",), b"", 0, b"not an ISA problem"),
        (("0f0d08",), b"", 0, b"NOP"),  # PREFETCHW: cannot be proven, and need not be
    ],
)
def test_command_answers(arguments, stdin, code, words):
    result = run(*arguments, stdin=stdin)

    assert (result.returncode, result.stderr) == (code, b"")
    assert words in result.stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        ((), b"", 2),
        (("90", "--core", "x"), b"", 2),
        (("--core", "x", "--exit-code", "132"), b"", 2),
        (("zzz",), b"", 4),
        (("--log", "-"), b"nothing here\nat all\n", 4),
        (("--log", "-"), b"", 4),
        (("--log", "/nonexistent"), b"", 4),
        (("--core", "/nonexistent"), b"", 4),
        (("--core", "/dev/zero"), b"", 4),
        (("--minidump", "/etc/passwd"), b"", 4),
        (("--core", "/proc/self/exe"), b"", 4),
        (("--exit-code", "abc"), b"", 2),
        (("62f2fd0840c1", "--on", "/dev/null"), b"", 4),
    ],
)
def test_command_refuses_in_one_line(arguments, stdin, code):
    result = run(*arguments, stdin=stdin)

    assert result.returncode == code
    assert result.stdout == b""
    assert result.stderr.startswith(b"cpuprobe: error: ")
    assert result.stderr.count(b"\n") == 1


def test_a_missing_decoder_is_told(tmp_path: Path):
    (tmp_path / "iced_x86.py").write_text("raise ImportError('not here')\n")
    result = subprocess.run(
        [sys.executable, "-m", "cpuprobe", "explain", "90"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert result.returncode == 3
    assert b"pip install iced-x86" in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_v1_machines_lack_v2():
    assert explain("f30fb8d8", machine(*V1)).verdict == "lacks"


# --- whose code it is ---


@pytest.mark.parametrize(
    ("suffix", "isa"),
    [
        ("ppc64x", "ppc64"),
        ("loong64", "loongarch64"),
        ("mips64x", "mips"),
        ("mipsx", "mips"),
        ("arm", "arm"),
        ("arm64", "aarch64"),
        ("s390x", "s390x"),
        ("riscv64", "riscv64"),
    ],
)
def test_the_suffix_of_gos_files_names_the_instruction_set(suffix: str, isa: str):
    """`08 00` would else be decoded as OR, which every x86-64 CPU has."""
    text = (
        "SIGILL: illegal instruction\nPC=0x5bd84 m=3 sigcode=128\n"
        "instruction bytes: 0x8 0x0 0xe0 0x3 0x0 0x0 0x0 0x0\n\n"
        f"goroutine 1 [syscall]:\n\t/go/src/syscall/asm_linux_{suffix}.s:16 +0x10\n"
    )

    answer = explain(text)

    assert (answer.verdict, answer.isa) == ("foreign-isa", isa)


def test_gos_file_for_x86_leaves_the_code_x86s():
    text = "SIGILL: illegal instruction\ninstruction bytes: 0x62 0xf2 0xfd 0x8 0x40 0xc1\n"

    assert explain(text + "\t/go/src/syscall/asm_linux_amd64.s:16 +0x10\n").verdict == "lacks"


def test_an_unknown_row_of_windbg_under_its_place_begins_the_instruction():
    text = (
        "0:000> u foo!bar+0x12 L3\nfoo!bar+0x12:\n00005555`5bb50b24 67              ???\n"
        "00005555`5bb50b25 0f              ???\n00005555`5bb50b26 b94002cccc      mov     ecx,1\n"
    )

    (first, *_) = explain(text).instructions

    assert first.intel.startswith("ud1")


# --- advice for the machine that the text is about ---


@pytest.mark.parametrize(
    ("message", "advised"),
    [
        ("this CPU does not support AVX2 instructions", "a build of the program for x86-64-v2"),
        ("this CPU does not support SSE4.1 instructions", "a build of the program for x86-64-v1"),
        ("this CPU does not support AES instructions", "does without aes"),
        ("CPU does not support x86-64-v3", "whose baseline is x86-64-v2 or lower"),
        (
            "This program can only be run on AMD64 processors with v3 microarchitecture support.",
            "a build of the program for x86-64-v2",
        ),
    ],
)
def test_a_refusal_of_another_machine_gets_no_build_for_this_ones_level(message: str, advised: str):
    """A machine of level v4 with AES is at hand, which cannot have said that."""
    everything = tuple(
        name for name in load_features() if name in (*load_levels()[3].features, "aes")
    )
    answer = explain(message, machine(*everything))

    assert all(each.safe for each in answer.features)
    assert advised in " ".join(answer.advice)
    assert "x86-64-v4" not in " ".join(answer.advice)


def test_only_what_an_emulator_refused_is_for_it_to_mend():
    """Its CPU model is the advice where the machine has the instruction, and where none is told."""
    judge = functools.cache(lambda: machine(*V3))

    def advice(code: str, signal: str) -> str:
        crash = Crash("core file", code=bytes.fromhex(code), signal=signal, emulator="qemu")
        return " ".join(worded(diagnose(crash, judge)).advice)

    own = Crash("core file", code=bytes.fromhex("c5fc2800"), signal="SIGILL")
    assert "QEMU" in advice("c5fc2800", "SIGILL")
    assert "QEMU" in advice("", "SIGILL")
    assert "QEMU" not in " ".join(worded(diagnose(own, judge)).advice)
    assert "QEMU" not in advice("488b00", "SIGSEGV")


def test_a_capture_is_named_by_its_path_quoted_for_the_shell():
    crash = Crash("bytes", code=bytes.fromhex("c4c17a10545d00"))
    judge = functools.cache(lambda: machine(*V2))

    named = worded(diagnose(crash, judge, "a b.txt", "logs/a b.txt")).advice
    nameless = worded(diagnose(crash, judge, "the machine in the text")).advice

    assert "  cpuprobe flags --only-off --on 'logs/a b.txt'" in named
    assert "  cpuprobe flags --only-off --on FILE" in nameless
    assert not any("machine in the text" in line for line in nameless if line.startswith("  "))


def test_what_only_a_kernels_list_tells_is_not_said_of_cpuid():
    listed = parse_capture(
        b"processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: x\n"
        b"flags\t\t: fpu tsc cx8 cmov mmx fxsr sse sse2 syscall nx lm\n\n"
    )
    crash = Crash("bytes", code=bytes.fromhex("c4c17a10545d00"))
    (avx,) = worded(diagnose(crash, lambda: assess(listed), "x")).features

    assert (avx.cpuid, avx.kernel) == (None, False)
    assert avx.cause == "the kernel does not list it"


def test_only_what_the_kernel_calls_a_module_is_called_one():
    head = "Oops: invalid opcode: 0000 [#1] SMP\nRIP: 0010:kobj_attr_show+0x15/0x30"
    built_in, module = explain(head), explain(head + " [platform_profile]")

    assert "module" not in " ".join(built_in.advice)
    assert "leave out its module platform_profile" in " ".join(module.advice)
