"""Nothing false is said, whatever comes: properties of the verdicts over random bytes and texts."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.crash.test_corpus import answers, here

from cpuprobe.code.encoding import fields
from cpuprobe.code.instructions import instructions
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.evidence.crashes.model import Crash
from cpuprobe.evidence.crashes.told import of_text

FOLDER = Path(__file__).parents[2] / "data" / "crashes"
TEXTS = sorted(path.name for path in FOLDER.glob("*.txt"))
CODE = st.binary(min_size=4, max_size=15)
# A prefix that may stand before no VEX or EVEX, SDM vol. 2A, 2.3.2 to 2.3.5.
FORBIDDEN = st.sampled_from([0x66, 0xF2, 0xF3, 0xF0, *range(0x40, 0x50)])
VEX = st.binary(min_size=6, max_size=12).map(lambda rest: b"\xc5" + rest)
FOREIGN = {
    "aarch64": ("aarch64", "Process 1 launched: '/app' (arm64)", "ABI: 'arm64'"),
    "riscv64": ("linux-riscv64",),
    "s390x": ("Linux host 5.14 s390x GNU/Linux",),
    "mips": ("mipsel-linux",),
    "ppc64": ("uname: ppc64le",),
}


@examples(300)
@given(FORBIDDEN, VEX)
def test_what_faults_everywhere_is_never_called_harmless_or_missing(prefix: int, rest: bytes):
    """A forbidden prefix before VEX: neither baseline, nor a feature that another CPU has."""
    crash = Crash("core file", code=bytes([prefix]) + rest, signal="SIGILL")
    answer = diagnose(crash, here)

    assert answer.verdict in ("always-invalid", "undecodable")
    assert answer.features == ()
    assert not answer.lacking


@examples(300)
@given(CODE)
def test_baseline_has_no_vector_prefix_and_no_lock_on_registers(code: bytes):
    crash = Crash("core file", code=code, signal="SIGILL")
    answer = diagnose(crash, here)
    found = fields(code)

    if answer.verdict == "baseline" and found is not None:
        assert found.kind == "legacy"
        assert not (0xF0 in found.prefixes and not found.of_memory)
    if answer.verdict == "always-invalid":
        assert answer.features == ()


@examples(300)
@given(CODE)
def test_an_instruction_is_no_longer_than_its_bytes(code: bytes):
    for one in instructions(code, sequence=True):
        assert 0 < len(one.decoded.code) <= 15
        if one.offence is not None:
            assert one.decoded.kind == "always-invalid"


@examples(100)
@given(st.sampled_from(sorted(FOREIGN)), CODE, st.data())
def test_a_text_of_another_instruction_set_gets_no_x86_answer(isa: str, code: bytes, data):
    line = data.draw(st.sampled_from(FOREIGN[isa]))
    listed = " ".join(f"0x{byte:x}" for byte in code)
    text = f"{line}\nSIGILL: illegal instruction\nPC=0x401000 m=0 sigcode=1\n"
    (answer,) = answers(of_text(f"{text}instruction bytes: {listed}\n".encode()))

    assert answer.verdict == "foreign-isa"
    assert answer.isa == isa
    assert answer.features == ()


@examples(200)
@given(st.text(max_size=60).filter(lambda text: "\0" not in text))
def test_a_text_that_says_sigill_is_never_refused(text: str):
    for words in ("SIGILL", "Illegal instruction (core dumped)", "exit code 132", "0xC000001D"):
        assert answers(of_text(f"{text}\n{words}\n".encode("utf-8", "replace")))


@examples(150)
@given(st.sampled_from(TEXTS), st.data())
def test_a_damaged_text_is_answered_or_refused_in_one_line(name: str, data):
    """Cut anywhere, and a piece of another text put in the middle."""
    content = (FOLDER / name).read_bytes()
    other = (FOLDER / data.draw(st.sampled_from(TEXTS))).read_bytes()
    at = data.draw(st.integers(0, len(content)))
    piece = data.draw(st.integers(0, len(other)))
    try:
        found = answers(of_text(content[:at] + other[:piece] + content[at:]))
    except (CaptureError, UsageError) as error:
        assert "\n" not in str(error)
        return
    assert 0 < len(found) <= 8


@pytest.mark.parametrize(
    "piece",
    [
        b"=> 0x401000 <",
        b"#0  0x00007f in ",
        b"trap invalid opcode ip:1 sp:2 error:0 in a[",
        b"Code: 00 00 <62> f2 ",
        b"rip 0x401000 rsp ",
        b"signal exit code 132 ",
        b"does not support all of the following CPU features ",
        b"0x62, 0xf2, ",
        b"<Data>c000001d</Data>",
        b'{"exception":{"mechanism":[',
        b"this CPU does not support AVX ",
        b"<" * 30,
    ],
)
def test_hostile_text_takes_no_long_time(piece: bytes):
    """Half a megabyte of what could make an expression backtrack, in one line and in many."""
    for between in (b"", b"\n", b" " * 50):
        content = (piece + between) * ((1 << 19) // len(piece + between))
        start = time.process_time()
        with contextlib.suppress(CaptureError, UsageError):
            answers(of_text(content))
        assert time.process_time() - start < 20
