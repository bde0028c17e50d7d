"""`check` searches before it decodes, and splits large files: neither changes an answer."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.children import children
from tests.needs import read_needs

iced_x86 = pytest.importorskip("iced_x86")

from cpuprobe.check import many  # noqa: E402
from cpuprobe.check.against import within  # noqa: E402
from cpuprobe.check.judge import Fit  # noqa: E402
from cpuprobe.code import scan, tally  # noqa: E402
from cpuprobe.code.elf import Held  # noqa: E402
from cpuprobe.code.elf_program import read_elf  # noqa: E402
from cpuprobe.code.forms import forms, searches  # noqa: E402
from cpuprobe.code.layout import plan  # noqa: E402
from cpuprobe.code.read import complete, opened  # noqa: E402
from cpuprobe.code.search import WINDOW, candidate_offsets  # noqa: E402
from cpuprobe.facts.profiles import find_profile  # noqa: E402

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")

# Two sections that both start at 0 in an object file; hits in each, one odd function, and bytes
# after the last function that no symbol claims: AVX code, long enough to be believed.
SOURCE = """
#define HIT(name, place, text) __attribute__((section(place))) void name(void) { \\
    __asm__ volatile(text); }
HIT(a1, ".text.a", "vpaddd %ymm1, %ymm0, %ymm0") HIT(a2, ".text.a", "popcnt %rax, %rax")
HIT(b1, ".text.b", "vpaddd %ymm1, %ymm0, %ymm0") HIT(b2, ".text.b", "pfadd %mm0, %mm0")
HIT(b3, ".text.b", "cpuid") HIT(b4, ".text.b", "jmp 1f; .byte 0x06, 0x62; lzcnt %eax, %eax; 1:")
__asm__(".section .loose,\\"ax\\"\\n.rept 60\\nvaddps %ymm0, %ymm1, %ymm2\\n.endr\\nret\\n");
"""


def search(data: bytes, start: int = 0, end: int | None = None) -> list[int]:
    end = len(data) if end is None else end
    found = candidate_offsets(searches(), data, start, end, len(data))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An object file and a library."""
    folder = tmp_path_factory.mktemp("split")
    files = [folder / "split.o", folder / "split.so"]
    for path, options in zip(files, (["-c"], ["-shared", "-fPIC"]), strict=True):
        command = ["gcc", "-O1", "-x", "c", "-", "-o", str(path), *options]
        subprocess.run(command, input=SOURCE.encode(), check=True)
    return files


# --- candidates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "offset"),
    [
        ("f3 48 0f b8 c0", 2),  # popcnt rax, rax: prefix and REX stand before the escape
        ("66 f3 0f bd c0", 2),  # lzcnt
        ("0f 38 00 c1", 0),  # pshufb
        ("66 0f 3a 0f c1 04", 1),  # palignr
        ("f2 0f 12 c1", 1),  # movddup
        ("db 08", 0),  # fisttp
        ("c5 fd fe c1", 0),  # vpaddd ymm
        ("c4 e2 f9 f7 c1", 0),  # shlx
        ("62 f1 7d 48 fe c1", 0),  # vpaddd zmm
        ("8f e9 78 01 c8", 0),  # blcfill, TBM
        ("0f 0f c1 9e", 0),  # pfadd
        ("48 0f c7 0e", 1),  # cmpxchg16b
        ("0f a2", 0),  # cpuid
        ("0f 01 d0", 0),  # xgetbv
        ("c7 f8 00 00 00 00", 0),  # xbegin
        ("c5 c5 58 c1", 0),  # vaddpd ymm, ymm7: its second byte looks like another
        ("89 c5 c5 f8 58 c1", 2),  # mov ebp, eax; vaddps
    ],
)
def test_what_begins_an_instruction_is_a_candidate(code, offset):
    """Encodings written from the manuals' opcode tables."""
    assert offset in search(bytes.fromhex(code))


def test_everyday_code_has_no_candidates():
    """push, mov, sub, call, test, je, movaps, nopw, add, leave, ret; endbr64; bsr; movlps."""
    code = (
        "55 4889e5 4883ec20 e8 00000000 4885c0 740a 0f2801 660f1f440000 4801d8 c9 c3"
        "f30f1efa 0fbdc1 0f1201"
    )
    assert search(bytes.fromhex(code)) == []


def random_code(source: random.Random) -> bytes:
    """Bytes that are more often an instruction beyond x86-64-v1 than by chance."""
    pick, any_byte = source.choice, source.randrange(256)
    pp, wide, vvvv = source.randrange(4), pick((0, 0x80)), pick((0x78, 0x78, any_byte & 0x78))
    start = {
        "legacy": pick((b"", b"\x66", b"\xf2", b"\xf3", b"\x48", b"\x66\x4c", b"\xf3\x49"))
        + pick(
            (
                b"\x0f",
                b"\x0f\x38",
                b"\x0f\x3a",
                b"\x0f\x01",
                b"\x0f\xae",
                b"\x0f\xc7",
                b"\x0f\xa6",
                b"\x0f\xa7",
                b"\x0f\x0f",
            )
        ),
        "one": pick((b"", b"\x48", b"\x66"))
        + pick((b"\xdb", b"\xdd", b"\xdf", b"\xc6", b"\xc7", b"\xc6\xf8", b"\xc7\xf8")),
        "vex2": bytes((0xC5, 0x80 | vvvv | pick((0, 4)) | pp)),
        "vex3": bytes((0xC4, 0xE0 | pick((1, 2, 3)), wide | vvvv | pick((0, 4)) | pp)),
        "xop": bytes((0x8F, 0xE0 | pick((8, 9, 10)), wide | vvvv | pick((0, 4)) | pp)),
        "evex": bytes(
            (
                0x62,
                0xF0 | pick((1, 2, 3, 5, 6)),
                wide | vvvv | 4 | pp,
                pick((8, 9, 0x28, 0x48, 0x18, 0x58, 0x4B)),
            )
        ),
        "any": b"",
    }
    kinds = ("legacy", "one", "vex2", "vex3", "vex3", "xop", "evex", "evex", "evex", "any")
    return start[pick(kinds)] + source.randbytes(12)


def test_the_decoder_finds_nothing_without_a_candidate():
    """Whatever the bytes: each instruction that is a hit holds a candidate."""
    source = random.Random(5)
    dull = forms().quiet | {iced_x86.Code.INVALID}
    reached: set[int] = set()
    for _ in range(60_000):
        data = random_code(source)
        instruction = iced_x86.Decoder(64, data).decode()
        if instruction.code not in dull:
            reached.add(instruction.code)
            assert any(offset < instruction.len for offset in search(data)), data.hex()
    assert len(reached) > 1500


def test_a_window_ends_nowhere():
    """Candidates at and across the ends of what is searched at once, prefixes before the start."""
    popcnt = bytes.fromhex("f3 0f b8 c0")
    data = bytearray(b"\x90" * (3 * WINDOW))
    places = [WINDOW - 4, WINDOW + 40, 2 * WINDOW - 2, 2 * WINDOW + 40 - 1]
    for place in places:
        data[place : place + 4] = popcnt

    assert search(bytes(data)) == [place + 1 for place in places]
    # From an escape on: its prefix stands before.
    assert search(bytes(data), WINDOW + 41, WINDOW + 42) == [WINDOW + 41]
    assert candidate_offsets(searches(), bytes(data), 0, len(data), 3) is None


@pytest.mark.parametrize("name", ["libc.so.6", "ld-linux-x86-64.so.2", "libcrypto.so.3"])
def test_searching_first_changes_nothing(name, monkeypatch):
    """A library decoded without any search, and with one before every function."""
    path = Path("/usr/lib/x86_64-linux-gnu") / name
    if not path.exists():
        pytest.skip(f"no {name} here")
    file = read_elf(Held(path.read_bytes()))
    work = plan(file)
    answers = []
    for little, dense in ((1 << 60, 48), (0, 48), (0, 1), (0, 1 << 20)):
        searches.cache_clear()
        monkeypatch.setattr(scan, "LITTLE", little)
        monkeypatch.setattr(scan, "DENSE", dense)
        answers.append(scan.scan(file, work, forms()))

    assert len(answers[0].features) > 3
    assert answers[1:] == answers[:1] * 3


# --- parts ---------------------------------------------------------------------------------------


@needs_gcc
@pytest.mark.parametrize("of", [2, 3, 7, 64])
def test_parts_make_the_whole(built, of):
    """Counts, places, their order and the coverage: as if it had been one part."""
    for path in built:
        whole = read_needs(str(path))
        reading = opened(str(path))
        parts = [reading.scan(number, of) for number in range(of)]
        scans = [part for part in parts if part is not None]

        assert complete(reading.needs(), scans) == whole
        assert sum(bool(part.features) for part in scans) > (of > 8)
        assert [place.name for place in whole.features["avx2"].places] == ["a1", "b1"]
        assert whole.features["avx"].by["sweep"] == 60
        assert "CPUID" in whole.dispatch


@needs_gcc
@pytest.mark.parametrize("of", [1, 3, 64])
def test_every_function_with_what_is_sought_is_listed(built, of, monkeypatch):
    """With its symbol and address, in address order, however the file is divided; to a bound."""

    def listed() -> tuple[list[tuple[str, dict[str, int]]], int]:
        reading = opened(str(built[1]))
        parts = (reading.scan(number, of, {"avx2", "avx"}) for number in range(of))
        needs = complete(reading.needs(), [part for part in parts if part is not None])
        assert all(each.start <= each.address <= each.last for each in needs.functions)
        addresses = [each.address for each in needs.functions]
        assert addresses == sorted(addresses)
        return [(each.name, each.features) for each in needs.functions], needs.unlisted

    functions, unlisted = listed()
    assert sorted(functions) == [("", {"avx": 60}), ("a1", {"avx2": 1}), ("b1", {"avx2": 1})]
    assert unlisted == 0
    monkeypatch.setattr(tally, "MOST_LISTED", 2)
    assert listed() == (functions[:2], 1)
    assert read_needs(str(built[1])).functions == ()


@needs_gcc
def test_a_function_too_large_for_a_walk_is_counted_in_little_room(tmp_path):
    """1.2 MB of AVX in one function; what is rare is not believed there."""
    source = """__asm__(".globl f\\n.type f, @function\\nf:\\nmov %eax, %eax\\n"
        ".rept 300000\\nvaddps %ymm0, %ymm1, %ymm2\\n.endr\\npfadd %mm0, %mm0\\n"
        "popcnt %eax, %eax\\nret\\n.size f, .-f\\n");"""
    path = tmp_path / "large.o"
    command = ["gcc", "-x", "c", "-", "-c", "-o", path]
    subprocess.run(command, input=source.encode(), check=True)
    needs = read_needs(str(path))

    counts = {name: use.instructions for name, use in needs.features.items()}
    assert counts == {"avx": 300_000, "popcnt": 1}
    assert needs.features["avx"].places[0].address == 2
    assert needs.features["popcnt"].places[0].address == 2 + 4 * 300_000 + 4
    assert needs.coverage.discarded == 1


def check_all(paths: list[Path], processes: int) -> list[Fit]:
    against = within(find_profile("x86-64-v1"))
    assert against is not None
    files = [(str(path), True) for path in paths]
    return many.check(files, against, processes, lambda done, of: None)


@needs_gcc
def test_a_split_file_gets_the_same_answer(built, tmp_path, monkeypatch):
    """Two processes, files in many parts beside others in one; damaged and missing files too."""
    cut = tmp_path / "cut"
    cut.write_bytes(built[1].read_bytes()[:5000])
    paths = [built[0], cut, Path("/bin/sh"), built[1], tmp_path / "none"]
    alone = check_all(paths, 1)
    monkeypatch.setattr(many, "SMALL", 0)
    monkeypatch.setattr(many, "PART", 2000)

    assert check_all(paths, 2) == alone
    assert [fit.path for fit in alone] == [str(path) for path in paths]
    assert [fit.error is None for fit in alone] == [True, False, True, True, False]


@needs_gcc
def test_a_file_that_changes_between_its_parts_is_not_believed(built):
    """Readings of two files are not one file."""
    parts = [many.read_part(str(path), number, 2) for number, path in enumerate(built)]

    assert many.whole(parts) == "it was changed while it was read"


# --- processes that end --------------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The command at work on a large file, and its two workers."""
    wasmtime = pytest.importorskip("wasmtime")
    (library,) = Path(wasmtime.__file__).parent.rglob("_libwasmtime.so")
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(library)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell at a terminal gives it
    ) as process:
        workers: list[int] = []
        deadline = time.monotonic() + 60
        while len(workers) < 2 and time.monotonic() < deadline and process.poll() is None:
            workers = sorted(children(process.pid))
            time.sleep(0.002)
        assert len(workers) == 2
        yield process, workers


# As many CPUs as the test needs, whatever this machine has.
COMMAND = """\
import os, sys
os.sched_getaffinity = lambda process: {0, 1}
from cpuprobe.cli import main
sys.argv = ["cpuprobe", "check", sys.argv[1], "--against", "x86-64-v1"]
sys.exit(main())
"""


def test_a_killed_worker_is_one_line(started):
    process, workers = started
    os.kill(workers[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 4
    (line,) = errors.splitlines()
    assert line.startswith("cpuprobe: error: ")
    assert line.endswith("the process that read it, or one beside it, was killed")


@pytest.mark.parametrize("everybody", [True, False])
def test_ctrl_c_ends_all_of_it(started, everybody):
    """At a terminal every process gets the signal; sent with kill, only the first does."""
    process, workers = started
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode not in (0, None)
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
