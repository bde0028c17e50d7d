"""Minidumps, written here as Windows, Crashpad and Breakpad write them, whole and damaged."""

from __future__ import annotations

import functools
import random
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpuprobe.assessment import Assessment, assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.minidump import read_minidump
from tests.crash.answers import explained
from tests.crash.programs import RARE, build
from tests.examples import examples
from tests.fakes import V2, group, observation

VPMULLQ = bytes.fromhex("62f2fd0840c1")
WINDOWS, LINUX, MAC = 2, 0x8201, 0x8101
BASE, RIP = 0x7FF600000000, 0x7FF600001129
REGISTERS = (
    "rax",
    "rcx",
    "rdx",
    "rbx",
    "rsp",
    "rbp",
    "rsi",
    "rdi",
    *(f"r{n}" for n in range(8, 16)),
)


def dump(
    *,
    platform: int = WINDOWS,
    code: int = 0xC000001D,
    flags: int = 0,
    memory: Sequence[tuple[int, bytes]] = ((RIP - 16, b"\x90" * 16 + VPMULLQ + b"\xc3" * 40),),
    wide: bool = False,
    modules: Sequence[tuple[int, int, str]] = ((BASE, 0x10000, r"C:\Users\alice\app\foo.dll"),),
    rip: int = RIP,
    registers: Mapping[str, int] | None = None,
    architecture: int = 9,
    padded: bool = False,
    protection: tuple[int, int] | None = None,
    without: frozenset[int] = frozenset(),
) -> bytes:
    """A dump with an exception, a context, memory, modules and the system's description."""
    body = bytearray(32 + 12 * 8)

    def put(content: bytes) -> int:
        body.extend(bytes(-len(body) % 8))
        body.extend(content)
        return len(body) - len(content)

    context = bytearray(1232)
    struct.pack_into("<I", context, 0x30, 0x10000B)
    values = [(registers or {}).get(name, 0) for name in REGISTERS]
    struct.pack_into("<16QQ", context, 0x78, *values, rip)
    where = put(bytes(context))
    exception = struct.pack("<II", 77, 0)
    exception += struct.pack("<IIQQII15Q", code, flags, 0, rip, 0, 0, *[0] * 15)
    exception += struct.pack("<II", len(context), where)
    system = struct.pack("<HHHBBIIIII", architecture, 6, 0, 4, 1, 10, 0, 0, platform, 0)
    system += bytes(32)
    rows = bytearray()
    for base, size, name in modules:
        encoded = name.encode("utf-16-le")
        place = put(struct.pack("<I", len(encoded)) + encoded + b"\0\0")
        rows += struct.pack("<QIIII", base, size, 0, 0, place) + bytes(84)
    pad = bytes(4) if padded else b""
    streams: dict[int, bytes] = {
        7: system,
        6: exception,
        4: struct.pack("<I", len(modules)) + pad + bytes(rows),
    }
    if wide:
        at = put(b"".join(content for _, content in memory))
        ranges = b"".join(struct.pack("<QQ", start, len(content)) for start, content in memory)
        streams[9] = struct.pack("<QQ", len(memory), at) + ranges
    else:
        placed = [(start, len(content), put(content)) for start, content in memory]
        ranges = b"".join(struct.pack("<QII", *each) for each in placed)
        streams[5] = struct.pack("<I", len(memory)) + pad + ranges
    if protection is not None:
        kind, access = protection
        row = struct.pack("<QQIIQIIII", rip & ~0xFFF, 0, 0, 0, 0x1000, 0x1000, access, kind, 0)
        streams[16] = struct.pack("<IIQ", 16, 48, 1) + row
    kept = {kind: content for kind, content in streams.items() if kind not in without}
    directory = b"".join(
        struct.pack("<III", kind, len(content), put(content)) for kind, content in kept.items()
    )
    body[32 : 32 + len(directory)] = directory
    body[:32] = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, len(kept), 32, 0, 0, 0)
    return bytes(body)


@functools.cache
def machine() -> Assessment:
    """An x86-64-v2 machine."""
    return assess(observation(group(V2), listed=V2))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test puts its dump."""
    return tmp_path / "crash.dmp"


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("platform", "code", "signal", "name"),
    [
        (WINDOWS, 0xC000001D, "STATUS_ILLEGAL_INSTRUCTION", r"C:\Users\alice\app\foo.dll"),
        (LINUX, 4, "SIGILL", "/home/alice/app/foo.dll"),
        (MAC, 2, "EXC_BAD_INSTRUCTION", "/Users/alice/app/foo.dll"),
    ],
)
def test_an_illegal_instruction(
    path: Path, platform: int, code: int, signal: str, name: str, padded: bool, wide: bool
) -> None:
    """On each platform, with both kinds of memory list and Breakpad's padding."""
    path.write_bytes(
        dump(
            platform=platform, code=code, wide=wide, padded=padded, modules=((BASE, 0x9000, name),)
        )
    )
    crash = read_minidump(str(path))
    answer = explained(crash, machine)

    assert (crash.signal, crash.module, crash.offset) == (signal, "foo.dll", 0x1129)
    assert (answer.verdict, answer.jit) == ("lacks", False)
    assert [each.bytes for each in answer.instructions] == [VPMULLQ.hex()]
    assert [each.name for each in answer.features] == ["avx512dq", "avx512vl"]


@pytest.mark.parametrize(
    ("protection", "jit", "verdict"),
    [(None, True, "lacks"), ((0x20000, 0x20), True, "lacks"), ((0x20000, 0x04), False, "data")],
)
def test_code_in_no_module(
    path: Path, protection: tuple[int, int] | None, jit: bool, verdict: str
) -> None:
    """Private executable memory is JIT code; memory that may not be executed holds data."""
    path.write_bytes(dump(modules=(), protection=protection))
    answer = explained(read_minidump(str(path)), machine)

    assert (answer.jit, answer.module, answer.verdict) == (jit, None, verdict)


def test_the_bytes_come_from_the_file_if_the_dump_has_none(path: Path, tmp_path: Path) -> None:
    """Offsets in a minidump count from where the module is loaded."""
    program = build(tmp_path, "dead", RARE["xop"])
    content = program.read_bytes()
    place = content.index(RARE["xop"])  # in .text, which is mapped where it is in the file
    path.write_bytes(
        dump(
            platform=LINUX,
            code=4,
            memory=(),
            rip=BASE + place,
            modules=((BASE, len(content), "/opt/dead"),),
        )
    )
    without = explained(read_minidump(str(path)), machine)
    answer = explained(read_minidump(str(path), (str(program),)), machine)

    assert without.verdict == "no-code"
    assert any("dead" in note and "--exe" in note for note in without.notes)
    assert [each.name for each in answer.features] == ["xop"]


def test_registers_tell_a_misaligned_operand(path: Path) -> None:
    """Movaps xmm0, [rdi]."""
    path.write_bytes(
        dump(
            platform=LINUX,
            code=11,
            memory=((RIP, bytes.fromhex("0f2807") + b"\xc3" * 30),),
            registers={"rdi": 0x1001},
        )
    )

    assert explained(read_minidump(str(path)), machine).verdict == "alignment"


@pytest.mark.parametrize(("flags", "sent"), [(2, False), (0xFFFFFFFA, True), (0, False)])
def test_a_sent_signal(path: Path, flags: int, sent: bool) -> None:
    """On Linux the exception's flags are si_code: ILL_ILLOPN, SI_TKILL."""
    path.write_bytes(dump(platform=LINUX, code=4, flags=flags))

    assert read_minidump(str(path)).sent == sent


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a minidump"),
        (b"MDMP", "cut short"),
        (b"\x1f\x8b" + bytes(40), "compressed"),
        (dump(without=frozenset({6})), "without an exception"),
        (dump(without=frozenset({7})), "without the system"),
        (dump(architecture=0), "another processor"),
        (dump(platform=99), "unknown platform"),
        (b"MDMP\x93\xa7\0\0" + b"\xff" * 24, "no minidump has so many"),
    ],
)
def test_what_cannot_be_read(path: Path, content: bytes, message: str) -> None:
    """One line that says why."""
    path.write_bytes(content)

    with pytest.raises(CaptureError, match=r"crash\.dmp: ") as caught:
        read_minidump(str(path))
    assert message in str(caught.value)


def attempt(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        explained(read_minidump(str(path)), machine)
    except CaptureError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_every_length(path: Path, wide: bool) -> None:
    """Cut after any byte."""
    content = dump(wide=wide, protection=(0x20000, 0x20))
    for length in range(len(content)):
        attempt(path, content[:length])


@pytest.mark.slow
def test_changed_numbers(path: Path) -> None:
    """Each aligned number of the dump made large, one after another, and several at random."""
    content = dump(protection=(0x20000, 0x20))
    for at in range(0, len(content) - 8, 4):
        for value in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)):
            attempt(path, content[:at] + value + content[at + 4 :])
    chance = random.Random(7)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 20)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        attempt(path, bytes(damaged))


@examples(200)
@given(tail=st.binary(max_size=400))
def test_any_bytes_after_the_signature(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    """Nothing but a CaptureError."""
    path = tmp_path_factory.getbasetemp() / "any.dmp"
    attempt(path, b"MDMP\x93\xa7\0\0" + tail)


def test_absurd_sizes_take_no_memory(path: Path) -> None:
    """Counts of 2**32 - 1 in every list."""
    content = dump()
    tracemalloc.start()
    for kind in (4, 5, 9, 16):
        damaged = bytearray(content)
        for row in range(32, 32 + 48, 12):
            (found, _, place) = struct.unpack_from("<III", damaged, row)
            if found in (4, 5):
                struct.pack_into("<I", damaged, row, kind)
                struct.pack_into("<Q", damaged, place, (1 << 32) - 1)
        attempt(path, bytes(damaged))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 32 << 20
