"""Core files of programs that really died, and damaged ones."""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from cpuprobe import assess, observe
from cpuprobe.assessment import Assessment
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.core_file import read_core
from cpuprobe.evidence.crashes.read import read_text
from cpuprobe.report.explanation import Explanation, to_json
from tests.crash.answers import explained
from tests.crash.programs import RARE, build, core_of


@pytest.fixture(scope="module")
def here() -> Assessment:
    """This machine, assessed once."""
    return assess(observe())


@pytest.fixture(scope="module")
def rare(here: Assessment) -> tuple[str, bytes]:
    """A feature that this CPU lacks and an instruction that needs it."""
    for name, code in RARE.items():
        if here.features[name].state == "absent":
            return name, code
    pytest.skip("this CPU has everything")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, rare: tuple[str, bytes]) -> Path:
    """A program that executes it."""
    return build(tmp_path_factory.mktemp("program"), "dead", rare[1])


@pytest.fixture(scope="module")
def jit_core(program: Path) -> Path:
    """The core of one that made the instruction at run time."""
    return core_of(program, "j")


def explain(core: Path, here: Assessment, *executables: Path) -> Explanation:
    crash = read_core(str(core), tuple(map(str, executables)))
    return explained(crash, lambda: here)


def check(answer: Explanation, rare: tuple[str, bytes]) -> None:
    name, code = rare
    assert (answer.signal, answer.verdict) == ("SIGILL", "lacks")
    assert [each.bytes for each in answer.instructions] == [code.hex()]
    assert name in [each.name for each in answer.features if not each.safe]


def test_code_made_at_run_time(
    jit_core: Path, here: Assessment, rare: tuple[str, bytes], program: Path
) -> None:
    """Anonymous executable memory: the bytes are in the core alone."""
    answer = explain(jit_core, here)

    check(answer, rare)
    assert (answer.jit, answer.module) == (True, None)
    assert str(program.parent).encode() not in to_json("this machine", [answer])


def test_code_of_the_program(
    program: Path, here: Assessment, rare: tuple[str, bytes], tmp_path: Path
) -> None:
    """The kernel dumps no code that is in a file: it comes from the one that is given."""
    core = core_of(program, "e")
    answer = explain(core, here, program)

    check(answer, rare)
    assert (answer.jit, answer.module) == (False, "dead")
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    (dead,) = [int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" dead")]
    assert answer.offset is not None
    assert dead <= answer.offset < dead + 8

    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    without = explain(core, here)
    # There is a core already: what it lacks is in the program, and in no further core. One that gdb
    # made, where the kernel gives cores to a program of the system's, lacks nothing.
    if without.verdict == "no-code":
        assert "  cpuprobe explain --core CORE --exe dead" in without.advice
        assert not any("coredumpctl" in line for line in without.advice)
    # A core may be a stranger's: what it names stays closed, though it is there.
    assert str(core) in opened
    assert str(program) not in opened


def test_code_of_a_shared_library(
    tmp_path: Path, here: Assessment, rare: tuple[str, bytes]
) -> None:
    """The library is named, not the program; --exe helps once it has moved, not if it changed."""
    program = build(tmp_path, "uses", rare[1], library=True)
    core = core_of(program, "e")
    answer = explain(core, here, tmp_path / "libdead.so")
    check(answer, rare)
    assert answer.module == "libdead.so"

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = (tmp_path / "libdead.so").rename(elsewhere / "libdead.so")
    gone = explain(core, here)
    assert (gone.verdict, gone.instructions) == ("no-code", ())
    assert any("libdead.so" in note and "--exe" in note for note in gone.notes)
    check(explain(core, here, moved), rare)

    other = build(elsewhere, "other", b"\x90\x90", library=True)
    changed = explain(core, here, other.parent / "libdead.so")
    assert changed.verdict == "no-code"
    assert any("not the file that crashed" in note for note in changed.notes)


@pytest.mark.parametrize(
    ("mode", "number", "verdict"),
    [("u", signal.SIGILL, "trap"), ("s", signal.SIGILL, "sent"), ("d", signal.SIGSEGV, "data")],
)
def test_other_ends(program: Path, here: Assessment, mode: str, number: int, verdict: str) -> None:
    """UD2, a raised signal, and constants that are executed are no missing features."""
    answer = explain(core_of(program, mode, number), here, program)

    assert (answer.signal, answer.verdict) == (signal.Signals(number).name, verdict)
    assert answer.features == ()


def test_the_core_that_gdb_makes(
    program: Path, here: Assessment, rare: tuple[str, bytes], tmp_path: Path
) -> None:
    """Gcore writes the code of files too, and other notes."""
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")
    core = tmp_path / "core"
    arguments = ["-ex", "run", "-ex", f"generate-core-file {core}", "-ex", "x/16xb $pc"]
    ended = subprocess.run(
        ["gdb", "-nx", "-batch", *arguments, "--args", program, "j"],
        capture_output=True,
        timeout=120,
    )
    if not core.exists():
        pytest.skip(f"gdb made no core: {ended.stderr.decode()[:200]}")
    answer = explain(core, here)

    check(answer, rare)
    assert answer.jit is True
    (session,) = read_text(ended.stdout.decode())
    check(explained(session, lambda: here), rare)


def test_the_kernel_names_module_and_offset(
    program: Path, here: Assessment, rare: tuple[str, bytes]
) -> None:
    """The line that this kernel has just written, where it may be read."""
    if shutil.which("dmesg") is None:
        pytest.skip("dmesg is not installed")
    named = program.parent / f"named{os.getpid()}"
    shutil.copy(program, named)
    core_of(named, "e")
    log = subprocess.run(["dmesg"], capture_output=True)
    lines = [
        line for line in log.stdout.decode(errors="replace").splitlines() if named.name in line
    ]
    if log.returncode or not lines:
        pytest.skip("the kernel's log may not be read here, or print-fatal-signals is off")
    (crash,) = read_text("\n".join(lines), [str(named)])

    assert crash.module == named.name
    check(explained(crash, lambda: here), rare)


def test_the_command_leads_from_core_to_feature(jit_core: Path, rare: tuple[str, bytes]) -> None:
    """One command, exit code 1."""
    command = [sys.executable, "-m", "cpuprobe", "explain", "--core", str(jit_core)]
    ended = subprocess.run(command, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"needs {rare[0]}" in ended.stdout
    assert "made at run time" in ended.stdout


# --- damaged ---


def attempt(path: Path, here: Assessment) -> None:
    """A damaged core is explained as far as it goes, or refused in one line."""
    try:
        explained(read_core(str(path)), lambda: here)
    except CaptureError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
def test_every_length(jit_core: Path, here: Assessment, tmp_path: Path) -> None:
    """Cut anywhere in headers and notes, and at many places after them."""
    content = jit_core.read_bytes()
    path = tmp_path / "core"
    path.write_bytes(content)
    for length in (*range(len(content) - 1, 8192, -4093), *range(8192, -1, -1)):
        os.truncate(path, length)
        attempt(path, here)


def test_a_core_that_was_cut_says_so(jit_core: Path, here: Assessment, tmp_path: Path) -> None:
    """As by a limit on its size; the registers are still there."""
    path = tmp_path / "core"
    path.write_bytes(jit_core.read_bytes()[:8192])
    answer = explain(path, here)

    assert (answer.signal, answer.verdict) == ("SIGILL", "no-code")
    assert any("cut short" in note for note in answer.notes)
    assert not any("cut short" in note for note in explain(jit_core, here).notes)


def test_changed_bytes(jit_core: Path, here: Assessment, tmp_path: Path) -> None:
    """Bytes and whole numbers changed in the headers and notes."""
    content = jit_core.read_bytes()
    path = tmp_path / "core"
    chance = random.Random(5)
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(0, 8192)
            size = chance.choice((1, 2, 4, 8))
            damaged[at : at + size] = chance.choice(
                (b"\xff" * size, bytes(size), chance.randbytes(size), b"\x7f" * size)
            )
        path.write_bytes(damaged)
        attempt(path, here)


def test_absurd_sizes_take_no_memory(jit_core: Path, here: Assessment, tmp_path: Path) -> None:
    """A sparse file of 64 GiB whose notes claim all of it, and one with 2**32 program headers."""
    path = tmp_path / "core"
    content = bytearray(jit_core.read_bytes())
    (table,) = struct.unpack_from("<Q", content, 32)
    struct.pack_into("<Q", content, table + 32, 1 << 36)  # p_filesz of PT_NOTE
    path.write_bytes(content)
    os.truncate(path, 1 << 36)
    tracemalloc.start()
    attempt(path, here)
    struct.pack_into("<H", content, 56, 0xFFFF)  # e_phnum: the number is in section 0
    struct.pack_into("<Q", content, 40, 4096)
    struct.pack_into("<I", content, 4096 + 44, 0xFFFFFFFF)
    path.write_bytes(content)
    os.truncate(path, 1 << 36)
    attempt(path, here)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 64 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ELF file"),
        (b"\x7fELF", "cut short"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "compressed (zstd)"),
        (b"\x7fELF\x01\x01\x01" + bytes(100), "32-bit"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "another processor"),
        (Path("/bin/true"), "give a program with --exe"),
    ],
)
def test_what_is_no_core(content: bytes | Path, message: str, tmp_path: Path) -> None:
    """The message says what it is instead."""
    path = content if isinstance(content, Path) else tmp_path / "core"
    if isinstance(content, bytes):
        path.write_bytes(content)

    with pytest.raises(CaptureError, match=r"^/") as caught:
        read_core(str(path))
    assert message in str(caught.value)


def test_pipes_are_refused(tmp_path: Path) -> None:
    """Nothing can make it wait."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CaptureError, match="not a regular file"):
        read_core(str(tmp_path / "pipe"))
